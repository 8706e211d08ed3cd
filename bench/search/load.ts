// Who writes, searches and follows a search, in a process of its own.
import type { ClientMessage, ServerMessage } from '@syncline/protocol'
import { Histogram } from '../lib/histogram.ts'
import type { RawClient } from '../lib/raw-client.ts'
import { answer } from '../lib/remote.ts'
import { messagesIn, openSession, sendMessage } from '../lib/session.ts'
import { Corpus, type Mix, type Query } from './corpus.ts'

/** What a window saw. */
export interface Seen {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly searches: number
  readonly writes: number
  /** From a write until a live search told of it. */
  readonly liveP50Ms: number
  readonly liveP99Ms: number
}

const MAP = 'notes'
const FILL_BATCH = 500
/** A word of no document but those that are written for the live search. */
const LIVE_WORD = 'xylophone'

const corpus = new Corpus(1)
const asked = new Corpus(2)
let documents = 0
let writer: RawClient
let searcher: RawClient
let counter = 0

function listen(client: RawClient, take: (message: ServerMessage) => void): void {
  client.onPayload = (data, start, end, isText) => {
    for (const message of messagesIn(data.subarray(start, end), isText)) take(message)
  }
}

function put(key: string, value: object) {
  const timestamp = { millis: Date.now(), counter: counter++ % 65_536, nodeId: 'bench' }
  return { opType: 'PUT' as const, mapName: MAP, key, record: { value: value as never, timestamp } }
}

const send = (client: RawClient, message: ClientMessage): void => void sendMessage(client, 'msgpack', message)

async function once(client: RawClient, message: ClientMessage, isAnswer: (message: ServerMessage) => boolean) {
  const answered = new Promise<void>((resolve) => listen(client, (each) => isAnswer(each) && resolve()))
  send(client, message)
  await answered
}

const search = (requestId: string, { text, prefix }: Query): ClientMessage => ({
  type: 'SEARCH',
  payload: { requestId, mapName: MAP, query: text, options: { limit: 10, prefix } },
})

answer({
  async open(given: { readonly port: number; readonly documents: number }) {
    documents = given.documents
    writer = await openSession(given.port)
    searcher = await openSession(given.port)
  },
  async fill() {
    for (let i = 0; i < documents; i += FILL_BATCH) {
      const ops = Array.from({ length: FILL_BATCH }, (_, j) => put(`k${i + j}`, corpus.note()))
      await once(writer, { type: 'OP_BATCH', payload: { ops } }, ({ type }) => type === 'OP_ACK')
    }
  },
  /** The first search makes the index. */
  async index() {
    await once(searcher, search('first', { text: 'first', prefix: false }), ({ type }) => type === 'SEARCH_RESP')
  },
  async search({
    mix,
    ms,
    writesPerSecond,
  }: {
    readonly mix: Mix
    readonly ms: number
    readonly writesPerSecond: number
  }) {
    const latencies = new Histogram()
    const live = new Histogram()
    const sentAt = new Map<number, number>()
    let writes = 0
    listen(writer, (message) => {
      if (message.type !== 'SEARCH_UPDATE' || message.payload.value === null) return
      const { n } = message.payload.value as { readonly n: number }
      const at = sentAt.get(n)
      if (at !== undefined) live.add(performance.now() - at)
      sentAt.delete(n)
    })
    send(writer, { type: 'SEARCH_SUB', payload: { subscriptionId: 'live', mapName: MAP, query: LIVE_WORD } })
    const timer = setInterval(
      () => {
        const n = ++writes
        const isLive = n % 10 === 0
        const note = corpus.note()
        if (isLive) sentAt.set(n, performance.now())
        const value = isLive ? { ...note, title: `${LIVE_WORD} ${note.title}`, n } : note
        send(writer, {
          type: 'CLIENT_OP',
          payload: put(isLive ? `live${n % 500}` : `k${(n * 7_919) % documents}`, value),
        })
      },
      writesPerSecond === 0 ? 2 ** 30 : 1_000 / writesPerSecond,
    )
    const until = performance.now() + ms
    while (performance.now() < until) {
      const startedAt = performance.now()
      await once(searcher, search('s', asked.query(mix)), ({ type }) => type === 'SEARCH_RESP')
      latencies.add(performance.now() - startedAt)
    }
    clearInterval(timer)
    send(writer, { type: 'SEARCH_UNSUB', payload: { subscriptionId: 'live' } })
    const seen: Seen = {
      p50Ms: latencies.percentile(0.5),
      p99Ms: latencies.percentile(0.99),
      searches: latencies.count,
      writes,
      liveP50Ms: live.percentile(0.5),
      liveP99Ms: live.percentile(0.99),
    }
    return seen
  },
  stop() {},
})
