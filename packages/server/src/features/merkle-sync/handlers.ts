import { formatDigest, isTriePath } from '@syncline/core/merkle'
import { LIMITS, wireError, type KeyedRecord, type ServerMessage } from '@syncline/protocol'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { ReadView } from '../../inbound/authorize.ts'
import { resetRequired } from '../../outbound/followers.ts'
import { pages, recordBytes } from '../../outbound/pages.ts'
import { redact } from '../../outbound/redact.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { forbidden } from '../../inbound/authorize.ts'
import type { Session } from '../../sessions/session.ts'
import type { SyncService } from './service.ts'

/** SYNC_INIT by cursor or by root, and what a client asks for when digests differ. */
export function syncHandlers(kernel: Kernel, service: SyncService): Handlers {
  const { followers, store } = kernel

  /** Opens a map for a message whose sender must be able to read it, all of it if the answer shows hidden state. */
  const withMap = (
    session: Session,
    message: { type: string; requestId?: string },
    mapName: string,
    isWholeOnly: boolean,
    answer: (map: MapState, view: ReadView) => Reply,
  ): Reply => {
    const opened = service.open(session, mapName)
    const error =
      'error' in opened
        ? opened.error
        : isWholeOnly && opened.view.fields !== undefined
          ? forbidden(mapName, 'READ')
          : undefined
    if (error !== undefined || 'error' in opened) {
      session.refuse(error ?? wireError('FORBIDDEN'), message.type, message.requestId)
      return undefined
    }
    return answer(opened.map, opened.view)
  }

  return {
    SYNC_INIT: {
      maps: ({ mapName }) => [mapName],
      handle: (session, message) =>
        withMap(session, message, message.mapName, false, (map, view) => {
          const { cursor } = message
          if (followers.count(session) >= LIMITS.mapsPerConnection && followers.find(session, map) === undefined) {
            const details = { limit: 'mapsPerConnection', max: LIMITS.mapsPerConnection }
            session.refuse(wireError('LIMIT_EXCEEDED', undefined, details), message.type, message.requestId)
            return undefined
          }
          if (cursor === undefined) {
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
            return resetRequired(map.name, start.reset)
          }
          followers.follow(session, map, view, start)
          return undefined
        }),
    },
    SYNC_STOP: {
      maps: ({ mapName }) => [mapName],
      handle: (session, { mapName }) => {
        const map = store.residency.resident(mapName)
        if (map !== undefined) followers.unfollow(session, map)
        return undefined
      },
    },
    SYNC_PUSH: {
      maps: ({ payload }) => [payload.mapName],
      handle: (session, message) =>
        withMap(session, message, message.payload.mapName, false, (map) => {
          const { records } = message.payload
          const refused = service.push(session, map, records)
          return {
            type: 'SYNC_PUSH_RESP',
            payload: { mapName: map.name, accepted: records.length - refused.length, refused },
          }
        }),
    },
    MERKLE_REQ_BUCKET: {
      maps: ({ payload }) => [payload.mapName],
      handle: (session, message) =>
        withMap(session, message, message.payload.mapName, false, (map, view) => {
          const { path } = message.payload
          if (!isTriePath(path)) {
            session.refuse(wireError('VALIDATION_ERROR', 'path: expected 0 to 8 hexadecimal digits.'), message.type)
            return undefined
          }
          return path.length < 3 ? buckets(map, view, path) : { pages: leafPages(map, view, path) }
        }),
    },
    SYNC_TRIE: {
      maps: ({ payload }) => [payload.mapName],
      handle: (session, message) =>
        withMap(session, message, message.payload.mapName, true, (map) => {
          const trie = map.trie()
          return {
            type: 'SYNC_TRIE_RESP',
            payload: { mapName: map.name, digest: trie.digest(), leaves: trie.leaves() },
          }
        }),
    },
    SYNC_LEAVES: {
      maps: ({ payload }) => [payload.mapName],
      handle: (session, message) =>
        withMap(session, message, message.payload.mapName, true, (map) => ({
          pages: digestPages(map, service.leaves(map, message.payload.leaves)),
        })),
    },
    SYNC_FETCH: {
      maps: ({ payload }) => [payload.mapName],
      handle: (session, message) =>
        withMap(session, message, message.payload.mapName, false, (map, view) => ({
          pages: recordPages(map, view, message.payload.keys),
        })),
    },
  }
}

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

function* digestPages(map: MapState, entries: readonly Entry[]): IterableIterator<ServerMessage> {
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
