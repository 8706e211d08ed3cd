import { formatDigest, isTriePath } from '@syncline/core/merkle'
import { LIMITS, wireError, type KeyedRecord, type ServerMessage, type SyncPushResp } from '@syncline/protocol'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { ReadView } from '../../inbound/authorize.ts'
import { resetRequired } from '../../outbound/followers.ts'
import { pages, recordBytes } from '../../outbound/pages.ts'
import { redact } from '../../outbound/redact.ts'
import { isOfKind, wrongKind } from '../../store/kinds.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { isPrunedSince } from '../../store/pruned-mark.ts'
import { forbidden } from '../../inbound/authorize.ts'
import type { Session } from '../../sessions/session.ts'
import { LEAVES, type RefusedPush, type SyncService } from './service.ts'

/** SYNC_INIT by cursor or by root, and what a client asks for when digests differ. */
export function syncHandlers(kernel: Kernel, service: SyncService): Handlers {
  const { followers, limits, store } = kernel

  /** Opens a map for a message whose sender must be able to read it, all of it if the answer shows hidden state. */
  const withMap = (
    session: Session,
    mapName: string,
    isWholeOnly: boolean,
    answer: (map: MapState, view: ReadView) => Reply,
  ): Reply => {
    const opened = service.open(session, mapName)
    if ('error' in opened) return { refuse: opened.error }
    if (isWholeOnly && opened.view.fields !== undefined) return { refuse: forbidden(mapName, 'READ') }
    return answer(opened.map, opened.view)
  }

  return {
    SYNC_INIT: {
      maps: ({ mapName }) => [mapName],
      // Its first page. What follows leaves as fast as the client reads.
      cost: () => LIMITS.pageRecords,
      handle: (session, { mapName, cursor, kind, lastSyncTimestamp, requestId }) =>
        withMap(session, mapName, false, (map, view) => {
          if (!isOfKind(map, cursor === undefined ? (kind ?? 'lww') : kind)) return { refuse: wrongKind(map, kind) }
          if (followers.count(session) >= LIMITS.mapsPerConnection && followers.find(session, map) === undefined) {
            return { refuse: limits.refusal('mapsPerConnection', LIMITS.mapsPerConnection) }
          }
          if (cursor === undefined) {
            if (isPrunedSince(map.pruned, lastSyncTimestamp)) {
              followers.unfollow(session, map)
              return resetRequired(map.name, 'Deletions since the last synchronization are no longer kept.', true)
            }
            followers.follow(session, map, view, undefined)
            const trie = map.trie()
            const whole = view.fields === undefined ? { digest: trie.digest() } : {}
            const payload = {
              mapName: map.name,
              rootHash: trie.rootHash(),
              timestamp: store.sequencer.stamp(),
              ...whole,
            }
            return { type: 'SYNC_RESP_ROOT', payload }
          }
          session.usesCursors = true
          const start = service.resume(session, map, view, cursor)
          if ('reset' in start) {
            followers.unfollow(session, map)
            return resetRequired(map.name, start.reset, start.isReadable)
          }
          followers.follow(session, map, view, start, requestId)
          return undefined
        }),
    },
    SYNC_STOP: {
      handle: (session, { mapName }) => {
        const follower = followers.of(session).find(({ map }) => map.name === mapName)
        if (follower !== undefined) followers.unfollow(session, follower.map)
        return undefined
      },
    },
    SYNC_PUSH: {
      maps: ({ payload }) => [payload.mapName],
      cost: (_, { payload }) => payload.records.length,
      handle: (session, { payload: { mapName, kind, records } }) =>
        withMap(session, mapName, false, (map, view) => {
          if (!isOfKind(map, kind)) return { refuse: wrongKind(map, kind) }
          const refused = service.push(session, map, kind, records, followers.hasMissedNone(session, map))
          const accepted = records.length - refused.length
          if (refused.length > 0) return { pages: refusalPages(map, view, accepted, refused) }
          return { type: 'SYNC_PUSH_RESP', payload: { mapName, accepted, refused } }
        }),
    },
    MERKLE_REQ_BUCKET: {
      maps: ({ payload }) => [payload.mapName],
      cost: (session, { payload }) => 16 + service.leafSize(session, payload.mapName),
      handle: (session, { payload: { mapName, path } }) =>
        withMap(session, mapName, false, (map, view) => {
          if (!isOfKind(map, 'lww')) return { refuse: wrongKind(map) }
          if (!isTriePath(path)) {
            return { refuse: wireError('VALIDATION_ERROR', 'path: expected 0 to 8 hexadecimal digits.') }
          }
          return path.length < 3 ? buckets(map, view, path) : { pages: leafPages(map, view, path) }
        }),
    },
    SYNC_TRIE: {
      maps: ({ payload }) => [payload.mapName],
      cost: () => LEAVES,
      handle: (session, { payload: { mapName } }) =>
        withMap(session, mapName, true, (map) => {
          const trie = map.trie()
          return { type: 'SYNC_TRIE_RESP', payload: { mapName, digest: trie.digest(), leaves: trie.leaves() } }
        }),
    },
    SYNC_LEAVES: {
      maps: ({ payload }) => [payload.mapName],
      cost: (session, { payload }) => payload.leaves.length * (1 + service.leafSize(session, payload.mapName)),
      handle: (session, { payload: { mapName, leaves } }) =>
        withMap(session, mapName, true, (map) => ({ pages: digestPages(map, service.leaves(map, leaves)) })),
    },
    SYNC_FETCH: {
      maps: ({ payload }) => [payload.mapName],
      cost: (_, { payload }) => payload.keys.length,
      handle: (session, { payload: { mapName, keys } }) =>
        withMap(session, mapName, false, (map, view) => ({ pages: recordPages(map, view, keys) })),
    },
  }
}

/** What was refused of a push, each with the server's record as it is when its page leaves. */
function* refusalPages(
  map: MapState,
  view: ReadView,
  accepted: number,
  refusals: readonly RefusedPush[],
): IterableIterator<ServerMessage> {
  const withRecord = (refusal: RefusedPush): RefusalOfRecord => {
    const entry = map.entriesByKey.get(refusal.key)
    return entry === undefined ? refusal : { ...refusal, record: redact(view, entry), seq: entry.seq }
  }
  const bytesOf = ({ key, message, record }: RefusalOfRecord): number =>
    key.length + message.length + (record === undefined ? 0 : recordBytes(record))
  for (const [refused, more] of pages(refusals, withRecord, bytesOf)) {
    yield { type: 'SYNC_PUSH_RESP', payload: { mapName: map.name, accepted, refused, ...(more ? { more } : {}) } }
  }
}

type RefusalOfRecord = SyncPushResp['payload']['refused'][number]

function buckets(map: MapState, view: ReadView, path: string): ServerMessage {
  const children = Object.entries(map.trie().children(path))
  const stamps = Object.fromEntries(children.map(([digit, node]) => [digit, node.stamps]))
  const digests = Object.fromEntries(children.map(([digit, node]) => [digit, formatDigest(node.stamps, node.state)]))
  const payload = { mapName: map.name, path, buckets: stamps, ...(view.fields === undefined ? { digests } : {}) }
  return { type: 'SYNC_RESP_BUCKETS', payload }
}

function* leafPages(map: MapState, view: ReadView, path: string): IterableIterator<ServerMessage> {
  const keyedOf = (entry: Entry): KeyedRecord => keyed(view, entry)
  for (const [records, more] of pages(map.under(path), keyedOf, ({ record }) => recordBytes(record))) {
    yield { type: 'SYNC_RESP_LEAF', payload: { mapName: map.name, path, records, ...(more ? { more } : {}) } }
  }
}

function* digestPages(map: MapState, entries: Iterable<Entry>): IterableIterator<ServerMessage> {
  const entryOf = (entry: Entry): Entry => entry
  for (const [page, more] of pages(entries, entryOf, ({ key }) => key.length + 16, LIMITS.fetchKeys)) {
    const digests = new Uint8Array(page.length * 8)
    const view = new DataView(digests.buffer)
    for (const [i, { stampLane, stateLane }] of page.entries()) {
      view.setUint32(i * 8, stampLane)
      view.setUint32(i * 8 + 4, stateLane)
    }
    yield {
      type: 'SYNC_LEAVES_RESP',
      payload: { mapName: map.name, keys: page.map(({ key }) => key), digests, more },
    }
  }
}

function* recordPages(map: MapState, view: ReadView, keys: readonly string[]): IterableIterator<ServerMessage> {
  const keyedOf = (key: string): KeyedRecord | string => {
    const entry = map.entriesByKey.get(key)
    return entry === undefined ? key : keyed(view, entry)
  }
  const bytesOf = (found: KeyedRecord | string): number => (typeof found === 'string' ? 0 : recordBytes(found.record))
  for (const [page, more] of pages(keys, keyedOf, bytesOf)) {
    const records = page.filter((found) => typeof found !== 'string')
    const absent = page.filter((found) => typeof found === 'string')
    yield { type: 'SYNC_RECORDS', payload: { mapName: map.name, records, absent, more } }
  }
}

function keyed(view: ReadView, entry: Entry): KeyedRecord {
  return { key: entry.key, record: redact(view, entry), seq: entry.seq }
}
