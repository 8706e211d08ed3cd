import {
  LIMITS,
  type OpResult,
  type ReceivedOp,
  type RefusedOp,
  type WireError,
  type WriteConcern,
} from '@syncline/protocol'
import { forbidden, lockResource, type Action, type Authorizer } from '../../inbound/authorize.ts'
import type { ChangeFeed } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import type { CommitOutcome } from '../../store/commit-request.ts'
import type { Store } from '../../store/store.ts'
import type { Limits } from '../../telemetry/limits.ts'

/** When more may be asked to be stored, where too much waits for that. */
const RETRY_MS = 1_000

/** A successful result at this level holds once everything committed up to now is stored. */
export function isDurable(level: WriteConcern): boolean {
  return level === 'PERSISTED' || level === 'REPLICATED'
}

/** What the service needs of the server. */
export interface MapHost {
  readonly store: Store
  readonly feed: ChangeFeed
  readonly authorizer: Authorizer
  readonly limits: Limits
}

/** Writes clients' ops to maps. */
export class MapService {
  readonly #store: Store
  readonly #feed: ChangeFeed
  readonly #authorizer: Authorizer
  readonly #limits: Limits
  /** Replies to each session that wait for storage. */
  readonly #waiting = new WeakMap<Session, number>()
  #waitingWrites = 0
  #unnamed = 0

  constructor({ store, feed, authorizer, limits }: MapHost) {
    this.#store = store
    this.#feed = feed
    this.#authorizer = authorizer
    this.#limits = limits
  }

  /**
   * Applies ops to one map, which is in memory, at one level. The results are those of the ops, in order: what holds if
   * the level is reached.
   */
  write(session: Session, mapName: string, ops: readonly ReceivedOp[], level: WriteConcern): OpResult[] {
    const grant = session.rights(this.#authorizer, mapName).write
    if (grant === undefined) return ops.map((op) => refused(this.idOf(op), forbidden(mapName, actionOf(op))))
    const full = isDurable(level) ? this.#fullFor(session) : undefined
    if (full !== undefined) return ops.map((op) => refused(this.idOf(op), full))
    const { committer } = this.#store
    const mayFence = ops.some(isFenced) ? this.#fencesOf(session) : undefined
    const outcomes = committer.commit({ grant, ops, level, mayFence })
    const achievedLevel = committer.levelGiven(level)
    const results: OpResult[] = []
    for (let i = 0; i < ops.length; i++) {
      const opId = this.idOf(ops[i] as ReceivedOp)
      const outcome = outcomes[i] as CommitOutcome
      if (!outcome.ok) {
        results.push(refused(opId, outcome.error))
        continue
      }
      this.#note(session, outcome)
      const { seq, superseded } = outcome
      const result = { opId, success: true, achievedLevel, latencyMs: 0, seq }
      results.push(superseded ? { ...result, superseded } : result)
    }
    return results
  }

  /** Which locks a session may write under: those that it may take. */
  #fencesOf(session: Session): (name: string) => boolean {
    return (name) => session.rights(this.#authorizer, lockResource(name)).write?.canPut === true
  }

  /** What the results call an op: its own id, or one that it gets here. */
  idOf(op: ReceivedOp | RefusedOp): string {
    return op.id ?? `op-${++this.#unnamed}`
  }

  /** Calls back when what a session has written up to now is stored, or with the reason why not in time. */
  whenDurable(session: Session, timeoutMs: number, done: (failure: WireError | undefined) => void): void {
    this.#noteWaiting(session, 1)
    this.#store.committer.whenDurable(timeoutMs, (failure) => {
      this.#noteWaiting(session, -1)
      done(failure)
    })
  }

  /** For the operator. */
  inspect(): { readonly waitingWrites: number } {
    return { waitingWrites: this.#waitingWrites }
  }

  #noteWaiting(session: Session, change: 1 | -1): void {
    this.#waitingWrites += change
    this.#waiting.set(session, (this.#waiting.get(session) ?? 0) + change)
  }

  /** Why a session may not wait for storage once more, if so. */
  #fullFor(session: Session): WireError | undefined {
    const max = LIMITS.waitingWritesPerConnection
    if ((this.#waiting.get(session) ?? 0) < max) return undefined
    return this.#limits.refusal('waitingWritesPerConnection', max, { code: 'BACKPRESSURE', retryAfterMs: RETRY_MS })
  }

  /** Existing clients get no copy of a write that stands exactly as they sent it. */
  #note(session: Session, outcome: Extract<CommitOutcome, { ok: true }>): void {
    if (outcome.changed && outcome.exact && !session.usesCursors) this.#feed.noteOwnWrite(session, outcome.entry)
  }
}

function isFenced({ fence }: ReceivedOp): boolean {
  return fence !== undefined
}

function actionOf({ opType }: ReceivedOp): Action {
  return opType === 'REMOVE' || opType === 'OR_REMOVE' ? 'REMOVE' : 'PUT'
}

/** The result of an op that was not applied. */
export function refused(opId: string, error: WireError): OpResult {
  const { errorCode, message, details } = error
  return {
    opId,
    success: false,
    achievedLevel: 'FIRE_AND_FORGET',
    latencyMs: 0,
    error: message,
    errorCode,
    ...(details === undefined ? {} : { details }),
  }
}

/** The result of an op that was applied but did not reach its level. */
export function unreached(result: OpResult, failure: WireError): OpResult {
  const { errorCode, message, details } = failure
  return {
    ...result,
    success: false,
    achievedLevel: 'APPLIED',
    error: message,
    errorCode,
    ...(details === undefined ? {} : { details }),
  }
}
