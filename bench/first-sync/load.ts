// One client that fills its empty map from the frames of a server, and the least that this can cost.
import { createClient, memory, type ClientEnv, type ClientSocket } from '@syncline/client'
import { mergeRecords, normalizeRecord, type LwwRecord } from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { LIMITS, encodeJson, type SyncDiff } from '@syncline/protocol'
import { answer } from '../lib/remote.ts'

const MAP = 'todos'
const NOW = Date.now()

/** What one measurement took. `usableMs` is CPU time until the query says that it is live. */
export interface Spent {
  readonly cpuMs: number
  readonly usableMs: number
  readonly ms: number
  readonly bytes: number
}

interface Todo {
  readonly done: boolean
  readonly createdAt: number
}

/** Records of about 100 bytes, as many writers left them. */
function makeFrames(count: number): readonly string[] {
  const trie = new MerkleTrie()
  const records = Array.from({ length: count }, (_, i) => {
    const key = `todo:${((i * 7919) % count).toString().padStart(6, '0')}`
    const value = {
      title: `Buy ${i} litres of milk and a loaf of bread`,
      done: i % 3 === 0,
      list: `list-${i % 50}`,
      createdAt: NOW - i * 1_000,
    }
    const stamp = { millis: NOW - ((i * 104_729) % 1_000_000), counter: i % 7, nodeId: `node-${i % 100}-5f3a9c1e` }
    const hash = fnv1a(key)
    const record: LwwRecord = { value, timestamp: stamp, base: stamp }
    trie.add(hash, stampDigest(hash, stamp), stateDigest(key, record))
    return { key, record: { value, timestamp: stamp, version: 1 }, seq: i + 1 }
  })
  const frames: string[] = []
  for (let at = 0; at < count; at += LIMITS.pageRecords) {
    const page = records.slice(at, at + LIMITS.pageRecords)
    const seq = page.at(-1)?.seq ?? 0
    const more = at + page.length < count
    const payload: SyncDiff['payload'] = {
      mapName: MAP,
      records: page,
      cursor: `c${seq}`,
      seq,
      more,
      ...(more ? {} : { digest: trie.digest() }),
    }
    frames.push(encodeJson({ type: 'SYNC_DIFF', payload }))
  }
  return frames
}

let frames: readonly string[] = []

/** Each frame in a turn of its own, as a browser hands them over. */
async function eachFrame(take: (frame: string) => void): Promise<void> {
  for (const frame of frames) {
    await new Promise((resolve) => setImmediate(resolve))
    take(frame)
  }
}

async function measured(work: (usable: () => void) => Promise<void>): Promise<Spent> {
  const startedAt = performance.now()
  const before = process.cpuUsage()
  const cpuMs = (): number => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }
  let usableMs = 0
  let ms = 0
  await work(() => {
    usableMs = cpuMs()
    ms = performance.now() - startedAt
  })
  return { cpuMs: cpuMs(), usableMs, ms, bytes: frames.reduce((sum, frame) => sum + frame.length, 0) }
}

function parseOnly(): Promise<Spent> {
  return measured(async (usable) => {
    await eachFrame((frame) => JSON.parse(frame))
    usable()
  })
}

/** What every client of this protocol must do: parse, bring to normal form, merge, keep. */
function parseAndKeep(): Promise<Spent> {
  return measured(async (usable) => {
    const rows = new Map<string, LwwRecord>()
    await eachFrame((frame) => {
      const { payload } = JSON.parse(frame) as SyncDiff
      for (const { key, record } of payload.records) {
        const incoming = normalizeRecord(record)
        const row = rows.get(key)
        rows.set(key, row === undefined ? incoming : mergeRecords(incoming, row))
      }
    })
    usable()
  })
}

function sync({ limit }: { readonly limit: number }): Promise<Spent> {
  let socket: ClientSocket | undefined
  const hear = (message: object): void => socket?.onText(JSON.stringify(message))
  let begin = (): void => {}
  const asked = new Promise<void>((resolve) => (begin = resolve))
  const env: ClientEnv = {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after: (delayMs, run) => {
      const timer = setTimeout(run, delayMs)
      return () => clearTimeout(timer)
    },
    endOfTurn: (run) => queueMicrotask(run),
    random: () => Math.random(),
    uniqueId: () => crypto.randomUUID(),
    log: (level, message, details) => console.error(level, message, details),
    openSocket: () => {
      socket = {
        onText() {},
        onClose() {},
        close() {},
        send: (text) => {
          const { type } = JSON.parse(text) as { type: string }
          if (type === 'SYNC_INIT') begin()
          else if (type !== 'PING') throw new Error(`The client sent ${type}: its map is not what the frames say.`)
        },
      }
      setImmediate(() => hear({ type: 'AUTH_REQUIRED', serverTime: Date.now(), protocolVersion: 1, optional: true }))
      return socket
    },
    locks: { tryAcquire: async () => () => {}, whenFree: () => new Promise(() => {}) },
    tab: { get: () => undefined, set() {} },
    onWake: () => () => {},
    ownUrl: undefined,
  }
  return measured(async (usable) => {
    const client = createClient({ env, storage: memory(), url: 'ws://server/ws' })
    const todos = client.map<Todo>(MAP)
    const isLive = new Promise<void>((resolve) => {
      todos
        .query({ where: { done: false }, orderBy: [['createdAt', 'desc']], ...(limit > 0 ? { limit } : {}) })
        .subscribe(({ status, rows, complete }) => {
          if (status !== 'live') return
          if (!complete || rows.length === 0) throw new Error('The query is live and not complete.')
          usable()
          resolve()
        })
    })
    await asked
    await eachFrame((frame) => socket?.onText(frame))
    await isLive
    await client.close()
  })
}

answer({
  prepare: ({ records }: { records: number }) => {
    frames = makeFrames(records)
    globalThis.gc?.()
  },
  parseOnly,
  parseAndKeep,
  sync,
  stop: () => {},
})
