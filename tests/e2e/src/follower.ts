import { mergeRecords, type LwwRecord } from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { toWireRecord, type KeyedRecord, type ReceivedRecord, type ReceivedServerMessage } from '@syncline/protocol'
import type { Copy, HeldRecord } from './journal.ts'
import { within } from './server-process.ts'
import type { WireClient } from './wire-client.ts'

const LIMIT_MS = 20_000

interface Followed {
  readonly rows: Map<string, HeldRecord>
  cursor: string | null
  isFirstPage: boolean
  isLive: boolean
  hasPushed: boolean
  isRepaired: boolean
  pushesOpen: number
}

/** What a follower tells of what it sees. */
export interface Witness {
  shown(mapName: string, key: string, seq: number, version: number): void
  readonly problems: string[]
}

/**
 * A client that follows whole maps by cursor and keeps its copy when the connection ends. When it comes back, it pushes
 * what it holds and the server may have lost, as the protocol asks of every client.
 */
export class Follower {
  readonly copy: ReadonlyMap<string, { readonly rows: ReadonlyMap<string, HeldRecord> }>
  /** The ranges that the server named in its last first page as perhaps lost; undefined if it was not asked. */
  lostRanges: readonly (readonly [number, number])[] | undefined
  pushedCount = 0
  /** Copies of a map that their digest showed to be wrong. */
  repairedCount = 0
  readonly #maps: ReadonlyMap<string, Followed>
  readonly #witness: Witness
  #isNew = true
  #settled = (): void => {}

  constructor(mapNames: readonly string[], witness: Witness) {
    this.#maps = new Map(mapNames.map((name) => [name, { rows: new Map(), cursor: null, ...unconnected() }]))
    this.copy = this.#maps
    this.#witness = witness
  }

  /** What it holds, in a form that stays as it is. */
  held(): Copy {
    return new Map(Array.from(this.#maps, ([name, { rows }]) => [name, new Map(rows)]))
  }

  /** Goes on over a new connection. Resolves when it has caught up and all that it pushed is answered. */
  async follow(client: WireClient): Promise<void> {
    this.lostRanges = undefined
    this.pushedCount = 0
    const done = new Promise<void>((resolve) => (this.#settled = resolve))
    client.listen((message) => this.#receive(client, message))
    for (const [mapName, followed] of this.#maps) {
      Object.assign(followed, unconnected())
      client.send({ type: 'SYNC_INIT', mapName, cursor: followed.cursor })
    }
    const gone = client.closed.then(() =>
      Promise.reject(new Error('The connection ended before the follower caught up')),
    )
    await within(Promise.race([done, gone]), LIMIT_MS, () => 'The follower did not catch up')
    this.#isNew = false
  }

  #receive(client: WireClient, message: ReceivedServerMessage): void {
    if (message.type === 'SYNC_DIFF') {
      const { mapName, records, cursor, more, lost, digest } = message.payload
      const followed = this.#find(mapName)
      if (followed.isFirstPage && lost !== undefined) this.lostRanges = lost
      const push = this.#take(mapName, followed, records)
      if (followed.isFirstPage) push.push(...lostRows(followed.rows, lost ?? []))
      followed.isFirstPage = false
      followed.cursor = cursor
      followed.isLive = !more
      followed.hasPushed ||= push.length > 0
      if (digest !== undefined) this.#compare(client, mapName, followed, digest)
      if (push.length > 0) {
        this.pushedCount += push.length
        followed.pushesOpen++
        client.send({ type: 'SYNC_PUSH', payload: { mapName, records: push } })
      }
    } else if (message.type === 'SERVER_EVENT' || message.type === 'SERVER_BATCH_EVENT') {
      const { payload } = message
      const followed = this.#find(payload.mapName)
      this.#take(payload.mapName, followed, 'events' in payload ? payload.events : [payload])
      if (payload.cursor !== undefined) followed.cursor = payload.cursor
    } else if (message.type === 'SYNC_PUSH_RESP') {
      const { mapName, refused } = message.payload
      this.#find(mapName).pushesOpen--
      for (const { key, message: why } of refused) this.#witness.problems.push(`Push of ${mapName}/${key}: ${why}`)
    } else if (message.type === 'SYNC_RESET_REQUIRED') {
      const { mapName, reason } = message.payload
      this.#witness.problems.push(`A follower of ${mapName} was reset: ${reason}`)
      this.#find(mapName).isLive = true
    }
    if ([...this.#maps.values()].every(({ isLive, pushesOpen }) => isLive && pushesOpen === 0)) this.#settled()
  }

  /**
   * Where the closing page's digest is not that of the copy, a client repairs it, once: this one reads the map anew.
   * It happens after a crash: a page leaves out what was written again since, and the crash may take the later write.
   */
  #compare(client: WireClient, mapName: string, followed: Followed, digest: string): void {
    // What is pushed may or may not be in the server's digest already.
    if (followed.hasPushed || digest === digestOf(followed.rows)) return
    if (followed.isRepaired || this.#isNew) {
      this.#witness.problems.push(`The digest of ${mapName} is not that of its records`)
      return
    }
    this.repairedCount++
    Object.assign(followed, { isRepaired: true, isLive: false })
    client.send({ type: 'SYNC_INIT', mapName, cursor: null })
  }

  /** Merges records into the copy. Answers those of which the copy knows more. */
  #take(mapName: string, { rows }: Followed, records: readonly KeyedRecord<ReceivedRecord>[]): KeyedRecord[] {
    const better: KeyedRecord[] = []
    for (const { key, record: received, seq = 0 } of records) {
      const { version, ...record } = received
      if (version !== undefined) this.#witness.shown(mapName, key, seq, version)
      const held = rows.get(key)
      const merged: LwwRecord = held === undefined ? record : mergeRecords(record, held.record)
      rows.set(key, { record: merged, seq })
      if (merged !== record) better.push({ key, record: toWireRecord(merged) })
    }
    return better
  }

  #find(mapName: string): Followed {
    const followed = this.#maps.get(mapName)
    if (followed === undefined) throw new Error(`Nobody asked for map ${mapName}`)
    return followed
  }
}

/** How a map stands on a connection that has just begun. */
function unconnected(): Omit<Followed, 'rows' | 'cursor'> {
  return { isFirstPage: true, isLive: false, hasPushed: false, isRepaired: false, pushesOpen: 0 }
}

function lostRows(rows: ReadonlyMap<string, HeldRecord>, lost: readonly (readonly [number, number])[]): KeyedRecord[] {
  return [...rows].flatMap(([key, { record, seq }]) =>
    lost.some(([from, to]) => seq > from && seq <= to) ? [{ key, record: toWireRecord(record) }] : [],
  )
}

function digestOf(rows: ReadonlyMap<string, HeldRecord>): string {
  const trie = new MerkleTrie()
  for (const [key, { record }] of rows) {
    const hash = fnv1a(key)
    trie.add(hash, stampDigest(hash, record.timestamp), stateDigest(key, record))
  }
  return trie.digest()
}
