import type { CounterRow, Env } from '@syncline/core'
import { CLOSE_CODES, LIMITS, type CounterCounts, type ReceivedOp, type WireError } from '@syncline/protocol'
import { errorText } from '../../env.ts'
import type { Authorizer, ReadView, WriteGrant } from '../../inbound/authorize.ts'
import type { ChangeFeed, MapChange } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import { counterRowAt } from '../../store/counter-rows.ts'
import type { MapState } from '../../store/map-state.ts'
import type { Store } from '../../store/store.ts'
import type { Limits } from '../../telemetry/limits.ts'
import { CounterFollower, type CounterOutlet } from './follower.ts'

/** What the service needs of the server. */
export interface CounterHost {
  readonly env: Pick<Env, 'log'>
  readonly store: Store
  readonly feed: ChangeFeed
  readonly authorizer: Authorizer
  readonly limits: Limits
}

/** What became of a state that a client sent. */
export interface SyncOutcome {
  /** The rows to answer with, by node id. */
  readonly shown: readonly string[]
  /** Why the first row was refused that was, and how many. */
  readonly error: WireError | undefined
  readonly refused: number
}

/** Counters: who follows which, and what becomes of states that existing clients send. */
export class CounterService {
  readonly #host: CounterHost
  readonly #outlet: CounterOutlet
  readonly #followersByMap = new Map<MapState, Set<CounterFollower>>()
  readonly #bySession = new Map<Session, Map<MapState, CounterFollower>>()

  constructor(host: CounterHost, outlet: CounterOutlet) {
    this.#host = host
    this.#outlet = outlet
    host.feed.listen({ wants: (map) => this.#followersByMap.has(map), tell: (change) => this.#tell(change) })
  }

  /** Starts sending a counter's changes to a session. Answers why not, if so. */
  follow(session: Session, map: MapState): WireError | undefined {
    let followers = this.#bySession.get(session)
    if (followers?.has(map) === true) return undefined
    if ((followers?.size ?? 0) >= LIMITS.countersPerConnection) {
      return this.#host.limits.refusal('countersPerConnection', LIMITS.countersPerConnection)
    }
    const follower = new CounterFollower(session, map, this.#outlet)
    if (followers === undefined) this.#bySession.set(session, (followers = new Map()))
    followers.set(map, follower)
    let all = this.#followersByMap.get(map)
    if (all === undefined) this.#followersByMap.set(map, (all = new Set()))
    all.add(follower)
    return undefined
  }

  /** Stops sending anything to a session. */
  unfollowAll(session: Session): void {
    for (const follower of this.#bySession.get(session)?.values() ?? []) this.#unfollow(follower)
  }

  /** Ends what a session may no longer follow. Answers the names of the counters' maps. */
  withdraw(session: Session, mayRead: (mapName: string) => boolean): readonly string[] {
    const ended = [...(this.#bySession.get(session)?.values() ?? [])].filter(({ map }) => !mayRead(map.name))
    for (const follower of ended) this.#unfollow(follower)
    return ended.map(({ map }) => map.name)
  }

  /**
   * Merges the rows of a state. A node that is raised alone becomes the sender's, where it is nobody's yet: a state that
   * raises several may hold rows of others, which a crash has taken from the server.
   */
  sync(
    session: Session,
    map: MapState,
    grant: WriteGrant,
    view: ReadView | undefined,
    state: CounterCounts,
  ): SyncOutcome {
    const { store, feed } = this.#host
    const nodeIds = [...new Set([...Object.keys(state.p), ...Object.keys(state.n)])]
    const raised = nodeIds.filter((nodeId) => {
      const { p, n } = counterRowAt(map, nodeId)
      const row = rowOf(state, nodeId)
      return row.p > p || row.n > n
    })
    const timestamp = store.sequencer.stamp()
    const ops = raised.map((nodeId): ReceivedOp => {
      return {
        mapName: map.name,
        key: nodeId,
        opType: 'PUT',
        record: { value: { ...rowOf(state, nodeId) }, timestamp },
      }
    })
    const outcomes = store.committer.commit({ grant, ops, level: 'MEMORY', isClaim: raised.length === 1 })
    const taken = new Set<string>()
    let error: WireError | undefined
    for (const [i, outcome] of outcomes.entries()) {
      if (!outcome.ok) {
        error ??= outcome.error
        continue
      }
      taken.add(raised[i] as string)
      // Its reply shows the row as it is now.
      if (outcome.changed) feed.noteOwnWrite(session, outcome.entry)
    }
    const shown = view === undefined ? raised.filter((nodeId) => taken.has(nodeId)) : nodeIds
    return { shown, error, refused: raised.length - taken.size }
  }

  /** How the policies see a session and a counter: who may read it whole, and who write. */
  rightsOn(session: Session, mapName: string): { readonly view?: ReadView; readonly write?: WriteGrant } {
    const { view, write } = session.rights(this.#host.authorizer, mapName)
    return {
      ...(view !== undefined && showsCounts(view) ? { view } : {}),
      ...(write?.canPut === true ? { write } : {}),
    }
  }

  /** The map of a counter, which is in memory. */
  mapOf(mapName: string): MapState {
    const map = this.#host.store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    return map
  }

  /** For the operator. */
  inspect(): { readonly counters: number; readonly following: number; readonly behind: number } {
    let [following, behind] = [0, 0]
    for (const followers of this.#followersByMap.values()) {
      following += followers.size
      for (const { isBehind } of followers) if (isBehind) behind++
    }
    return { counters: this.#followersByMap.size, following, behind }
  }

  #unfollow(follower: CounterFollower): void {
    const { session, map } = follower
    const followers = this.#bySession.get(session)
    followers?.delete(map)
    if (followers?.size === 0) this.#bySession.delete(session)
    const all = this.#followersByMap.get(map)
    all?.delete(follower)
    if (all?.size === 0) this.#followersByMap.delete(map)
    session.outbox.drop(follower)
  }

  #tell({ map, entries, seq, ownWrites }: MapChange): void {
    for (const follower of this.#followersByMap.get(map) ?? []) {
      if (follower.isBehind) continue
      const { session } = follower
      try {
        const isLong = entries.length > LIMITS.pageRecords
        if (session.outbox.isDraining || isLong) {
          follower.isBehind = true
          session.outbox.pull(follower)
          continue
        }
        follower.sentSeq = seq
        const own = ownWrites?.get(session)
        const meant = own === undefined ? entries : entries.filter((entry) => !own.has(entry))
        if (meant.length > 0) this.#outlet.rows(session, map, meant)
      } catch (error) {
        this.#host.env.log('error', 'A connection was closed because a counter could not be sent to it', {
          error: errorText(error),
        })
        session.close(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
      }
    }
  }
}

/** A row of a state that a client sent. */
function rowOf({ p, n }: CounterCounts, nodeId: string): CounterRow {
  return {
    p: Object.hasOwn(p, nodeId) ? (p[nodeId] as number) : 0,
    n: Object.hasOwn(n, nodeId) ? (n[nodeId] as number) : 0,
  }
}

/** A policy that names fields shows a counter only if it names both counts. */
function showsCounts({ fields }: ReadView): boolean {
  return fields === undefined || (fields.has('p') && fields.has('n'))
}
