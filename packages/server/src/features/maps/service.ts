import type { ClientOp, OpResult, WireError, WriteConcern } from '@syncline/protocol'
import { forbidden, type Authorizer } from '../../inbound/authorize.ts'
import type { ChangeFeed } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import type { CommitOutcome } from '../../store/commit.ts'
import type { Store } from '../../store/store.ts'

/** A successful result at this level holds once everything committed up to now is stored. */
export function isDurable(level: WriteConcern): boolean {
  return level === 'PERSISTED' || level === 'REPLICATED'
}

/** Writes clients' ops to maps. */
export class MapService {
  readonly #store: Store
  readonly #feed: ChangeFeed
  readonly #authorizer: Authorizer

  constructor(store: Store, feed: ChangeFeed, authorizer: Authorizer) {
    this.#store = store
    this.#feed = feed
    this.#authorizer = authorizer
  }

  /** Applies one op. The map is in memory. The result is what holds if its level is reached. */
  write(session: Session, op: ClientOp, opId: string, level: WriteConcern): OpResult {
    const { committer, residency } = this.#store
    const refusal = committer.refusal(level)
    if (refusal !== undefined) return refused(opId, refusal)
    const grant = session.rights(this.#authorizer, op.mapName).write
    if (grant === undefined) return refused(opId, forbidden(op.mapName, op.opType === 'REMOVE' ? 'REMOVE' : 'PUT'))
    const map = residency.resident(op.mapName)
    if (map === undefined) throw new Error(`Map '${op.mapName}' is not in memory`)
    const outcome = committer.write(map, op, grant)
    if (!outcome.ok) return refused(opId, outcome.error)
    this.#note(session, outcome)
    const { seq, superseded } = outcome
    const achievedLevel = committer.levelGiven(level)
    if (superseded) return { opId, success: true, achievedLevel, latencyMs: 0, seq, superseded }
    return { opId, success: true, achievedLevel, latencyMs: 0, seq }
  }

  /** Calls back when what was written up to now is stored, or with the reason why not in time. */
  whenDurable(timeoutMs: number, done: (failure: WireError | undefined) => void): void {
    this.#store.committer.whenDurable(timeoutMs, done)
  }

  /** Existing clients get no copy of a write that stands exactly as they sent it. */
  #note(session: Session, outcome: Extract<CommitOutcome, { ok: true }>): void {
    if (outcome.changed && outcome.exact && !session.usesCursors) this.#feed.noteOwnWrite(session, outcome.entry)
  }
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
