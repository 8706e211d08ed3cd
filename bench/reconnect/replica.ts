// What a client holds of a map, and the two ways in which it catches up with the server.
import { mergeRecords, type LwwRecord } from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { LIMITS, type ReceivedRecord } from '@syncline/protocol'
import type { Conversation } from '../lib/conversation.ts'

/** The records of a map by key, where the client stands, and the digests of what it holds. */
export interface Replica {
  readonly recordsByKey: Map<string, LwwRecord>
  cursor: string | null
}

/** Digests of a replica, which a client keeps beside its records. */
export interface Digests {
  readonly trie: MerkleTrie
  readonly lanesByKey: ReadonlyMap<string, { readonly stamps: number; readonly state: number }>
}

/** Pages that came, and how often the client had to ask and wait. */
export interface CaughtUp {
  readonly pages: number
  readonly trips: number
}

/** Follows a map from the replica's cursor until the page that closes the diff. */
export async function catchUpByCursor(
  conversation: Conversation,
  mapName: string,
  replica: Replica,
): Promise<CaughtUp> {
  conversation.send({ type: 'SYNC_INIT', mapName, cursor: replica.cursor })
  for (let pages = 1; ; pages++) {
    const { payload } = await conversation.take('SYNC_DIFF')
    for (const { key, record } of payload.records) merge(replica, key, record)
    replica.cursor = payload.cursor
    if (payload.more) continue
    return { pages, trips: 1 }
  }
}

/** Compares digests of leaves, then of the records in those that differ, and fetches what differs. */
export async function catchUpByTrie(
  conversation: Conversation,
  mapName: string,
  replica: Replica,
  { trie, lanesByKey }: Digests,
): Promise<CaughtUp> {
  conversation.send({ type: 'SYNC_TRIE', payload: { mapName } })
  const { payload } = await conversation.take('SYNC_TRIE_RESP')
  const leaves = differingLeaves(trie.leaves(), payload.leaves)
  if (leaves.length === 0) return { pages: 1, trips: 1 }

  conversation.send({ type: 'SYNC_LEAVES', payload: { mapName, leaves } })
  const keys: string[] = []
  let pages = 1
  for (let more = true; more; pages++) {
    const page = (await conversation.take('SYNC_LEAVES_RESP')).payload
    const lanes = new DataView(page.digests.buffer, page.digests.byteOffset, page.digests.byteLength)
    page.keys.forEach((key, i) => {
      const own = lanesByKey.get(key)
      if (own?.stamps !== lanes.getUint32(i * 8) || own.state !== lanes.getUint32(i * 8 + 4)) keys.push(key)
    })
    more = page.more
  }

  let trips = 2
  for (let from = 0; from < keys.length; from += LIMITS.fetchKeys) {
    trips++
    conversation.send({ type: 'SYNC_FETCH', payload: { mapName, keys: keys.slice(from, from + LIMITS.fetchKeys) } })
    for (let more = true; more; pages++) {
      const page = (await conversation.take('SYNC_RECORDS')).payload
      for (const { key, record } of page.records) merge(replica, key, record)
      more = page.more
    }
  }
  return { pages, trips }
}

/** Computes the digests of everything that a replica holds. */
export function digestsOf({ recordsByKey }: Replica): Digests {
  const trie = new MerkleTrie()
  const lanesByKey = new Map<string, { stamps: number; state: number }>()
  for (const [key, record] of recordsByKey) {
    const hash = fnv1a(key)
    const lanes = { stamps: stampDigest(hash, record.timestamp), state: stateDigest(key, record) }
    trie.add(hash, lanes.stamps, lanes.state)
    lanesByKey.set(key, lanes)
  }
  return { trie, lanesByKey }
}

function differingLeaves(own: Uint8Array, theirs: Uint8Array): number[] {
  const [a, b] = [viewOf(own), viewOf(theirs)]
  const leaves: number[] = []
  for (let at = 0; at < own.length; at += 8) if (a.getBigUint64(at) !== b.getBigUint64(at)) leaves.push(at / 8)
  return leaves
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function merge({ recordsByKey }: Replica, key: string, record: ReceivedRecord): void {
  const { value, timestamp, base, ttlMs, fields } = record
  const incoming: LwwRecord = {
    value,
    timestamp,
    base,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(fields === undefined ? {} : { fields }),
  }
  const own = recordsByKey.get(key)
  recordsByKey.set(key, own === undefined ? incoming : mergeRecords(own, incoming))
}
