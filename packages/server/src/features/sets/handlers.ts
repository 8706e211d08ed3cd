import { LIMITS, type OrEntry, type OrRecord, type ServerMessage } from '@syncline/protocol'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { ReadView } from '../../inbound/authorize.ts'
import { resetRequired } from '../../outbound/followers.ts'
import { pages, recordBytes } from '../../outbound/pages.ts'
import { redact } from '../../outbound/redact.ts'
import { tagOf, type ItemSet } from '../../store/item-index.ts'
import type { MapState } from '../../store/map-state.ts'
import { isPrunedSince } from '../../store/pruned-mark.ts'
import type { Session } from '../../sessions/session.ts'
import type { KeyTrie } from './key-trie.ts'
import type { RefusedPush, SetService } from './service.ts'

/** Bytes that an entry without items takes, and a tag. */
const TAG_BYTES = 40

/** ORMAP_SYNC_INIT and its family. */
export function setHandlers(kernel: Kernel, service: SetService): Handlers {
  const { followers, limits, store } = kernel

  const withMap = (
    session: Session,
    mapName: string,
    answer: (map: MapState, view: ReadView) => Reply | Promise<Reply>,
  ): Reply | Promise<Reply> => {
    const opened = service.open(session, mapName)
    return 'error' in opened ? { refuse: opened.error } : answer(opened.map, opened.view)
  }

  return {
    ORMAP_SYNC_INIT: {
      maps: ({ mapName }) => [mapName],
      cost: (session, { mapName }) => service.trieCost(session, mapName),
      handle: (session, { mapName, lastSyncTimestamp }) =>
        withMap(session, mapName, (map, view) => {
          if (followers.count(session) >= LIMITS.mapsPerConnection && followers.find(session, map) === undefined) {
            return { refuse: limits.refusal('mapsPerConnection', LIMITS.mapsPerConnection) }
          }
          if (isPrunedSince(map.pruned, lastSyncTimestamp)) {
            followers.unfollow(session, map)
            return resetRequired(map.name, 'Deletions since the last synchronization are no longer kept.', true)
          }
          followers.follow(session, map, view, undefined)
          return withTrie(service.trie(map, view), (trie) => ({
            type: 'ORMAP_SYNC_RESP_ROOT',
            payload: { mapName, rootHash: trie.rootHash(), timestamp: store.sequencer.stamp() },
          }))
        }),
    },
    ORMAP_MERKLE_REQ_BUCKET: {
      maps: ({ payload }) => [payload.mapName],
      cost: (session, { payload }) => service.trieCost(session, payload.mapName),
      handle: (session, { payload: { mapName, path } }) =>
        withMap(session, mapName, (map, view) => {
          if (path.length >= 3) return { pages: leafPages(view, mapName, path, service.under(map, path)) }
          return withTrie(service.trie(map, view), (trie) => {
            const children = Object.entries(trie.children(path))
            const buckets = Object.fromEntries(children.map(([digit, node]) => [digit, node.stamps]))
            return { type: 'ORMAP_SYNC_RESP_BUCKETS', payload: { mapName, path, buckets } }
          })
        }),
    },
    ORMAP_DIFF_REQUEST: {
      maps: ({ payload }) => [payload.mapName],
      cost: (_, { payload }) => payload.keys.length,
      handle: (session, { payload: { mapName, keys } }) =>
        withMap(session, mapName, (map, view) => ({ pages: diffPages(view, map, keys) })),
    },
    ORMAP_PUSH_DIFF: {
      maps: ({ payload }) => [payload.mapName],
      cost: (session, { payload: { mapName, entries } }) => service.pushCost(session, mapName, entries),
      handle: (session, { payload: { mapName, entries } }) => {
        const pushed = service.push(session, mapName, entries)
        return pushed instanceof Promise ? pushed.then(refusalOf) : refusalOf(pushed)
      },
    },
  }
}

function refusalOf(refusal: RefusedPush | undefined): Reply {
  if (refusal === undefined) return undefined
  const { error, refused } = refusal
  return { refuse: refused === 0 ? error : { ...error, details: { ...error.details, refused } } }
}

function withTrie(trie: KeyTrie | Promise<KeyTrie>, answer: (trie: KeyTrie) => Reply): Reply | Promise<Reply> {
  return trie instanceof Promise ? trie.then(answer) : answer(trie)
}

function* leafPages(
  view: ReadView,
  mapName: string,
  path: string,
  sets: readonly ItemSet[],
): IterableIterator<ServerMessage> {
  const parts = function* (): Iterable<OrEntry> {
    for (const set of sets) yield* entriesOf(view, set)
  }
  for (const [entries, more] of pages(parts(), entryOf, entryBytes)) {
    yield { type: 'ORMAP_SYNC_RESP_LEAF', payload: { mapName, path, entries, ...(more ? { more } : {}) } }
  }
}

function* diffPages(view: ReadView, map: MapState, keys: readonly string[]): IterableIterator<ServerMessage> {
  const parts = function* (): Iterable<OrEntry> {
    for (const key of keys) {
      const set = map.kind === 'or' ? map.items().at(key) : undefined
      if (set === undefined) yield { key, records: [], tombstones: [] }
      else yield* entriesOf(view, set)
    }
  }
  for (const [entries, more] of pages(parts(), entryOf, entryBytes)) {
    yield { type: 'ORMAP_DIFF_RESPONSE', payload: { mapName: map.name, entries, ...(more ? { more } : {}) } }
  }
}

/**
 * A key's items as a reader of the view sees them, and the tags of its removed ones. Not those of the whole map, which
 * existing servers put into every entry: that grows with the product of both. A key with very many comes in several.
 */
function* entriesOf(view: ReadView, { key, entries }: ItemSet): Iterable<OrEntry> {
  for (let from = 0; from === 0 || from < entries.length; from += LIMITS.pageRecords) {
    const records: OrRecord[] = []
    const tombstones: string[] = []
    for (const entry of entries.slice(from, from + LIMITS.pageRecords)) {
      const tag = tagOf(entry, key)
      const { value, timestamp, ttlMs } = redact(view, entry)
      if (value === null) tombstones.push(tag)
      else records.push({ value, timestamp, tag, ...(ttlMs === undefined ? {} : { ttlMs }) })
    }
    yield { key, records, tombstones }
  }
}

function entryOf(entry: OrEntry): OrEntry {
  return entry
}

function entryBytes({ key, records, tombstones }: OrEntry): number {
  const items = records.reduce((sum, record) => sum + recordBytes(record), 0)
  return TAG_BYTES * (1 + tombstones.length) + key.length + items
}
