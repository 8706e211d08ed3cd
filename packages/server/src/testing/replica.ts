import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { readServerMessage, type ReceivedRecord, type ServerMessage } from '@syncline/protocol'
import type { TestClient } from './test-server.ts'

/**
 * What a client holds that follows one map by cursor: it applies what it is sent by seq, and notes every breach of the
 * order in which that may come.
 */
export class Replica {
  readonly mapName: string
  readonly recordsByKey = new Map<string, { readonly record: ReceivedRecord; readonly seq: number }>()
  readonly breaches: string[] = []
  cursor: string | null = null
  seq = 0
  /** The closing page of the present connection has arrived. */
  isLive = false
  digest: string | undefined
  /** Records received, each time they came. */
  received = 0
  resets = 0
  #isFirstPage = true

  constructor(mapName: string) {
    this.mapName = mapName
  }

  /** Starts following on a connection, from where this replica stands. */
  attach(client: TestClient): void {
    this.isLive = false
    this.#isFirstPage = true
    client.onMessage = (message) => this.take(message)
    client.send({ type: 'SYNC_INIT', mapName: this.mapName, cursor: this.cursor })
  }

  take(raw: ServerMessage): void {
    const read = readServerMessage(raw)
    if (!read.ok) throw new Error(read.error.message)
    const message = read.value
    if (message.type === 'SYNC_DIFF' && message.payload.mapName === this.mapName) {
      const { records, seq, cursor, more, digest, prunedThroughSeq } = message.payload
      if (this.isLive) this.breaches.push('a page after the closing page')
      if (this.#isFirstPage && this.cursor === null) this.seq = 0
      this.#isFirstPage = false
      for (const { key, record, seq: recordSeq = 0 } of records) this.#apply(key, record, recordSeq)
      this.#moveTo(seq, cursor)
      this.#prune(prunedThroughSeq)
      this.isLive = !more
      this.digest = digest
      if (!more && digest !== undefined && digest !== this.ownDigest())
        this.breaches.push('another digest than the server')
    } else if (message.type === 'SERVER_EVENT' && message.payload.mapName === this.mapName) {
      const { key, record, seq, cursor } = message.payload
      if (!this.isLive) this.breaches.push('an event among the pages')
      this.#apply(key, record, seq)
      this.#moveTo(seq, cursor)
    } else if (message.type === 'SERVER_BATCH_EVENT' && message.payload.mapName === this.mapName) {
      const { events, cursor, seq, prunedThroughSeq } = message.payload
      if (!this.isLive) this.breaches.push('events among the pages')
      for (const event of events) this.#apply(event.key, event.record, event.seq)
      this.#moveTo(seq ?? 0, cursor)
      this.#prune(prunedThroughSeq)
    } else if (message.type === 'SYNC_RESET_REQUIRED' && message.payload.mapName === this.mapName) {
      this.resets++
      this.recordsByKey.clear()
      this.cursor = null
    }
  }

  /** Both lanes over what this replica holds, as 16 digits. */
  ownDigest(): string {
    const trie = new MerkleTrie()
    for (const [key, { record }] of this.recordsByKey) {
      const keyHash = fnv1a(key)
      trie.add(keyHash, stampDigest(keyHash, record.timestamp), stateDigest(key, record))
    }
    return trie.digest()
  }

  /** Values by key, tombstones left out. */
  content(): Record<string, unknown> {
    const entries = [...this.recordsByKey].map(([key, { record }]) => [key, record.value] as const)
    return Object.fromEntries(entries.filter(([, value]) => value !== null).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }

  #apply(key: string, record: ReceivedRecord, seq: number): void {
    this.received++
    if (seq <= this.seq) this.breaches.push(`seq ${seq} of ${key} after ${this.seq}`)
    const known = this.recordsByKey.get(key)
    if (known !== undefined && known.seq > seq) this.breaches.push(`${key} went back from ${known.seq} to ${seq}`)
    this.recordsByKey.set(key, { record, seq })
    this.seq = seq
  }

  #prune(throughSeq: number = 0): void {
    for (const [key, { record, seq }] of this.recordsByKey)
      if (record.value === null && seq <= throughSeq) this.recordsByKey.delete(key)
  }

  #moveTo(seq: number, cursor: string | undefined): void {
    if (cursor === undefined) this.breaches.push('a frame without a cursor')
    else this.cursor = cursor
    if (seq < this.seq) this.breaches.push(`the cursor says ${seq}, the records ${this.seq}`)
    this.seq = seq
  }
}
