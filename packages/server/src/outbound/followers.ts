import {
  diffPageFrame,
  eventFrame,
  LIMITS,
  type EncodedBody,
  type Encoding,
  type Frame,
  type SyncResetRequired,
} from '@syncline/protocol'
import type { ReadView } from '../inbound/authorize.ts'
import type { Session } from '../sessions/session.ts'
import type { MapState } from '../store/map-state.ts'
import type { Store } from '../store/store.ts'
import type { ChangeFeed, MapChange } from './change-feed.ts'
import { formatCursor } from './cursor.ts'
import { eventBody, keyedRecordBody, SharedEvents } from './encode-once.ts'
import type { Source } from './outbox.ts'

/** Where a follower begins. */
export interface FollowStart {
  readonly seq: number
  /** Up to where it holds records, which may be later. 0 is a client that holds nothing. */
  readonly held: number
  /** `prunedThroughSeq` when the follower's diff began. */
  readonly floor: number
  /** The latest head that the follower has reached. */
  readonly safe: number
}

/**
 * One session that follows one map. It keeps no queue: what it has not been sent lies in the map's log after `sentSeq`.
 * - `diff`: it is sent pages of SYNC_DIFF until it reaches the head;
 * - `behind`: it was live, but its socket was full; it is sent batches of events until it reaches the head;
 * - `live`: it gets the frame that all live followers of its class share.
 */
export class Follower implements Source {
  readonly session: Session
  readonly map: MapState
  readonly view: ReadView
  readonly usesCursor: boolean
  floor: number
  /** Up to where it held records when it began. 0 is a client that holds nothing. */
  readonly heldSeq: number
  /** Up to where it had missed nothing when it began; 0 where that is not known. */
  readonly startSeq: number
  phase: 'diff' | 'behind' | 'live'
  sentSeq: number
  /** The latest head that the follower has reached: up to there it has missed nothing, whatever a crash takes. */
  safeSeq: number
  isFirstPage: boolean
  /** The forgotten tombstones that it was told of: those at or below this seq. */
  prunedSeq = 0
  /** It follows because it asks queries, and no longer than that. */
  isByQuery = false
  /** The id of the request that its pages answer. */
  readonly requestId: string | undefined
  readonly #host: Followers

  constructor(
    host: Followers,
    session: Session,
    map: MapState,
    view: ReadView,
    start: FollowStart | undefined,
    requestId: string | undefined,
  ) {
    this.#host = host
    this.requestId = requestId
    this.session = session
    this.map = map
    this.view = view
    this.usesCursor = start !== undefined
    this.floor = start?.floor ?? 0
    this.phase = start === undefined ? 'live' : 'diff'
    this.sentSeq = start?.seq ?? map.log.head
    this.heldSeq = start?.held ?? this.sentSeq
    this.startSeq = start?.seq ?? 0
    this.safeSeq = start?.safe ?? this.sentSeq
    this.isFirstPage = start !== undefined
  }

  pump(): boolean {
    return this.#host.pump(this)
  }
}

/**
 * The order to begin anew. `isReadable`: what the receiver holds is still for its eyes, so that it may be shown until the
 * map is there again.
 */
export function resetRequired(mapName: string, reason: string, isReadable: boolean): SyncResetRequired {
  return { type: 'SYNC_RESET_REQUIRED', payload: { mapName, reason, ...(isReadable ? { readable: true } : {}) } }
}

/** It has not been sent deletions that are forgotten, nor did it begin after that. */
function isTooOld({ map, floor, sentSeq, phase }: Follower): boolean {
  return sentSeq < map.pruned.seq && (phase === 'behind' || floor < map.pruned.seq)
}

/** What a follower by cursor has yet to be told of forgotten tombstones. */
function prunedFor({ map, prunedSeq, usesCursor }: Follower): { readonly prunedThroughSeq: number } | undefined {
  return usesCursor && prunedSeq < map.pruned.seq ? { prunedThroughSeq: map.pruned.seq } : undefined
}

interface Group {
  readonly view: ReadView
  readonly members: Set<Follower>
}

/** Everyone who follows a map, and what they are sent. */
export class Followers {
  readonly #store: Store
  readonly #onFailure: (session: Session, error: unknown) => void
  readonly #groupsByMap = new Map<MapState, Map<string, Group>>()
  readonly #bySession = new Map<Session, Map<MapState, Follower>>()

  /** `onFailure` is told of a session that could not be told of a change: it has to come back and ask. */
  constructor(store: Store, feed: ChangeFeed, onFailure: (session: Session, error: unknown) => void) {
    this.#store = store
    this.#onFailure = onFailure
    feed.listen({ wants: (map) => this.#groupsByMap.has(map), tell: (change) => this.#announce(change) })
  }

  /** Starts sending a map to a session: from a position by cursor, or what changes from now on without one. */
  follow(
    session: Session,
    map: MapState,
    view: ReadView,
    start: FollowStart | undefined,
    requestId?: string,
  ): Follower {
    this.unfollow(session, map)
    const follower = new Follower(this, session, map, view, start, requestId)
    let followers = this.#bySession.get(session)
    if (followers === undefined) this.#bySession.set(session, (followers = new Map()))
    followers.set(map, follower)
    if (follower.phase === 'live') this.#goLive(follower)
    else session.outbox.pull(follower)
    return follower
  }

  /** Stops sending a map to a session. */
  unfollow(session: Session, map: MapState): void {
    const followers = this.#bySession.get(session)
    const follower = followers?.get(map)
    if (followers === undefined || follower === undefined) return
    followers.delete(map)
    if (followers.size === 0) this.#bySession.delete(session)
    session.outbox.drop(follower)
    this.#leaveGroup(follower)
  }

  /** Stops sending anything to a session. */
  unfollowAll(session: Session): void {
    for (const map of this.#bySession.get(session)?.keys() ?? []) this.unfollow(session, map)
  }

  /** How a session follows a map, if it does. */
  find(session: Session, map: MapState): Follower | undefined {
    return this.#bySession.get(session)?.get(map)
  }

  /** What a session held of a map when it began to follow was not deleted since: it has missed no deletion that is forgotten. */
  hasMissedNone(session: Session, map: MapState): boolean {
    const { heldSeq = 0, startSeq = 0, floor = 0 } = this.find(session, map) ?? {}
    return heldSeq > 0 && Math.max(startSeq, floor) >= map.pruned.seq
  }

  /** How many maps a session follows. */
  count(session: Session): number {
    return this.#bySession.get(session)?.size ?? 0
  }

  /** All maps that a session follows. */
  of(session: Session): readonly Follower[] {
    return [...(this.#bySession.get(session)?.values() ?? [])]
  }

  /** Sends a follower its next page. True if there is more. */
  pump(follower: Follower): boolean {
    const { session, map, view, phase } = follower
    if (phase === 'live') return false
    // Who holds nothing and has been sent nothing has missed nothing.
    if (follower.isFirstPage && follower.heldSeq === 0) follower.floor = map.pruned.seq
    if (isTooOld(follower)) {
      this.unfollow(session, map)
      const reset = resetRequired(map.name, 'Deletions were forgotten before the client had read them.', true)
      session.send(follower.requestId === undefined ? reset : { ...reset, requestId: follower.requestId })
      return false
    }
    const { encoding } = session
    const bodies: EncodedBody[] = []
    let bytes = 0
    let seq = follower.sentSeq
    let more = false
    map.log.since(follower.sentSeq, (entry) => {
      if (bodies.length >= LIMITS.pageRecords || (bytes >= LIMITS.pageBytes && bodies.length > 0)) {
        more = true
        return false
      }
      const body =
        phase === 'diff'
          ? keyedRecordBody(encoding, view, entry)
          : eventBody(encoding, view, entry, follower.usesCursor)
      bodies.push(body)
      bytes += body.length
      seq = entry.seq
      return true
    })
    if (!more) seq = Math.max(seq, map.log.head)
    if (phase === 'diff') session.outbox.push(this.#diffPage(follower, encoding, bodies, seq, more))
    else {
      const pruned = prunedFor(follower)
      const position = follower.usesCursor ? { cursor: this.#cursor(follower, seq, more), seq, ...pruned } : undefined
      if (bodies.length > 0 || pruned !== undefined)
        session.outbox.push(eventFrame(encoding, { mapName: map.name, ...position }, bodies))
    }
    follower.prunedSeq = map.pruned.seq
    follower.sentSeq = seq
    if (!more) follower.safeSeq = seq
    follower.isFirstPage = false
    if (!more) this.#goLive(follower)
    return more
  }

  #diffPage(follower: Follower, encoding: Encoding, bodies: readonly EncodedBody[], seq: number, more: boolean): Frame {
    const { map, view, isFirstPage } = follower
    const isWhole = view.fields === undefined
    const trie = more || !isWhole ? undefined : map.trie()
    const head = {
      mapName: map.name,
      cursor: this.#cursor(follower, seq, more),
      seq,
      more,
      ...(isFirstPage && map.kind !== undefined && map.kind !== 'lww' ? { kind: map.kind } : {}),
      ...(isFirstPage && follower.heldSeq > 0 ? { lost: this.#store.lostRanges } : {}),
      ...prunedFor(follower),
      ...(trie === undefined ? {} : { rootHash: trie.rootHash(), digest: trie.digest() }),
    }
    return diffPageFrame(encoding, head, bodies, follower.requestId)
  }

  #cursor(follower: Follower, seq: number, more: boolean): string {
    const { map, view, phase, floor, safeSeq } = follower
    return formatCursor({
      seq,
      floor: phase === 'diff' ? floor : map.pruned.seq,
      redactionClass: view.redactionClass,
      databaseId: this.#store.databaseId,
      ...(more ? { gap: { safe: safeSeq, head: map.log.head } } : {}),
    })
  }

  #goLive(follower: Follower): void {
    follower.phase = 'live'
    let groups = this.#groupsByMap.get(follower.map)
    if (groups === undefined) this.#groupsByMap.set(follower.map, (groups = new Map()))
    const key = follower.view.redactionClass
    let group = groups.get(key)
    if (group === undefined) groups.set(key, (group = { view: follower.view, members: new Set() }))
    group.members.add(follower)
  }

  #leaveGroup(follower: Follower): void {
    const groups = this.#groupsByMap.get(follower.map)
    const group = groups?.get(follower.view.redactionClass)
    if (groups === undefined || group === undefined || !group.members.delete(follower)) return
    if (group.members.size === 0) groups.delete(follower.view.redactionClass)
    if (groups.size === 0) this.#groupsByMap.delete(follower.map)
  }

  #announce(change: MapChange): void {
    const groups = this.#groupsByMap.get(change.map)
    if (groups === undefined) return
    for (const group of groups.values()) {
      const shared = new SharedEvents(group.view, change.map.name, change.entries, (seq) =>
        formatCursor({
          seq,
          floor: change.map.pruned.seq,
          redactionClass: group.view.redactionClass,
          databaseId: this.#store.databaseId,
          ...(seq < change.seq ? { gap: { safe: change.since, head: change.seq } } : {}),
        }),
      )
      for (const follower of group.members) {
        try {
          this.#tell(follower, change, shared)
        } catch (error) {
          this.#onFailure(follower.session, error)
        }
      }
    }
  }

  #tell(follower: Follower, change: MapChange, shared: SharedEvents): void {
    const { session } = follower
    const { encoding, outbox } = session
    for (const part of shared.parts(encoding, follower.usesCursor)) {
      if (follower.sentSeq >= part.seq) continue
      if (outbox.isDraining) return this.#fallBehind(follower)
      follower.sentSeq = part.seq
      if (follower.usesCursor) {
        outbox.push(shared.frameWithCursor(encoding, part))
        continue
      }
      const own = change.ownWrites?.get(session)
      const frame =
        own === undefined || own.size === 0
          ? shared.plainFrame(encoding, part)
          : shared.plainFrameWithout(encoding, part, own)
      if (frame !== undefined) outbox.push(frame)
    }
    if (prunedFor(follower) !== undefined) {
      if (outbox.isDraining) return this.#fallBehind(follower)
      outbox.push(shared.prunedFrame(encoding, change))
      follower.prunedSeq = change.map.pruned.seq
    }
    follower.sentSeq = change.seq
    follower.safeSeq = Math.max(follower.safeSeq, change.seq)
  }

  #fallBehind(follower: Follower): void {
    follower.phase = 'behind'
    this.#leaveGroup(follower)
    follower.session.outbox.pull(follower)
  }

  /** For the operator: how many follow, and how many of them are behind. */
  inspect(): { following: number; behind: number } {
    let [following, behind] = [0, 0]
    for (const followers of this.#bySession.values()) {
      for (const follower of followers.values()) {
        following++
        if (follower.phase === 'behind') behind++
      }
    }
    return { following, behind }
  }
}
