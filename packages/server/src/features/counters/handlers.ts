import {
  COUNTER_MAP_PREFIX,
  encodeFrame,
  type Encoding,
  type Frame,
  type FullCounterState,
  type ServerMessage,
} from '@syncline/protocol'
import type { Handlers, Kernel } from '../../feature.ts'
import { forbidden } from '../../inbound/authorize.ts'
import { pages } from '../../outbound/pages.ts'
import type { Session } from '../../sessions/session.ts'
import { counterRowAt } from '../../store/counter-rows.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import type { CounterOutlet } from './follower.ts'
import type { CounterService } from './service.ts'

/** COUNTER_REQUEST and COUNTER_SYNC. */
export function counterHandlers(kernel: Kernel, service: CounterService): Handlers {
  const size = (session: Session, mapName: string): number =>
    service.rightsOn(session, mapName).view === undefined
      ? 0
      : (kernel.store.residency.resident(mapName)?.entriesByKey.size ?? 0)

  return {
    COUNTER_REQUEST: {
      maps: ({ payload }) => [mapNameOf(payload.name)],
      cost: (session, { payload }) => 1 + size(session, mapNameOf(payload.name)),
      handle: (session, { payload: { name } }) => {
        const mapName = mapNameOf(name)
        if (service.rightsOn(session, mapName).view === undefined) return { refuse: forbidden(mapName, 'READ') }
        const map = service.mapOf(mapName)
        const refusal = service.follow(session, map)
        return refusal === undefined ? { pages: statePages(name, map) } : { refuse: refusal }
      },
    },
    COUNTER_SYNC: {
      maps: ({ payload }) => [mapNameOf(payload.name)],
      cost: (_, { payload: { state } }) => Object.keys(state.p).length + Object.keys(state.n).length,
      handle: (session, { payload: { name, state }, requestId }) => {
        const mapName = mapNameOf(name)
        const { view, write } = service.rightsOn(session, mapName)
        if (write === undefined) return { refuse: forbidden(mapName, 'PUT') }
        const map = service.mapOf(mapName)
        const { shown, error, refused } = service.sync(session, map, write, view, state)
        if (error !== undefined) {
          session.refuse({ ...error, details: { ...error.details, refused } }, 'COUNTER_SYNC', requestId)
        }
        return { type: 'COUNTER_UPDATE', payload: { name, state: stateOf(map, shown) } }
      },
    },
  }
}

/** Ends what a session follows without the right to, and tells it so. */
export function withdrawCounters(service: CounterService, session: Session): void {
  const mayRead = (mapName: string): boolean => service.rightsOn(session, mapName).view !== undefined
  for (const mapName of service.withdraw(session, mayRead))
    session.refuse(forbidden(mapName, 'READ'), 'COUNTER_REQUEST')
}

/** Sends rows that changed. The frame of one list of entries is made once for each encoding. */
export class CounterSender implements CounterOutlet {
  readonly #frames = new WeakMap<readonly Entry[], Partial<Record<Encoding, Frame>>>()

  rows(session: Session, map: MapState, entries: readonly Entry[]): void {
    let frames = this.#frames.get(entries)
    if (frames === undefined) this.#frames.set(entries, (frames = {}))
    const { encoding } = session
    session.outbox.push((frames[encoding] ??= encodeFrame(encoding, update(map, entries))))
  }
}

function update(map: MapState, entries: readonly Entry[]): ServerMessage {
  const name = map.name.slice(COUNTER_MAP_PREFIX.length)
  const nodeIds = entries.map(({ key }) => key)
  return { type: 'COUNTER_UPDATE', payload: { name, state: stateOf(map, nodeIds) } }
}

/** A counter's whole state, in parts. What changes while they leave is sent beside them: merging knows no order. */
function* statePages(name: string, map: MapState): IterableIterator<ServerMessage> {
  const nodeOf = (nodeId: string): string => nodeId
  // Each node is named up to four times.
  const bytesOf = (nodeId: string): number => 4 * (nodeId.length + 10)
  for (const [nodeIds, more] of pages(map.entriesByKey.keys(), nodeOf, bytesOf)) {
    yield { type: 'COUNTER_RESPONSE', payload: { name, state: stateOf(map, nodeIds), ...(more ? { more } : {}) } }
  }
}

/** The rows of some nodes, in both shapes that clients know. What is 0 is left out. */
function stateOf(map: MapState, nodeIds: readonly string[]): FullCounterState {
  const p: Record<string, number> = {}
  const n: Record<string, number> = {}
  for (const nodeId of nodeIds) {
    const row = counterRowAt(map, nodeId)
    if (row.p > 0) p[nodeId] = row.p
    if (row.n > 0) n[nodeId] = row.n
  }
  return { p, n, positive: p, negative: n }
}

/** A counter is the resource and the map of this name. */
function mapNameOf(name: string): string {
  return COUNTER_MAP_PREFIX + name
}
