import type { ClientOp, OpResult, WireError, WriteConcern } from '@syncline/protocol'
import { forbidden, type Authorizer } from '../../inbound/authorize.ts'
import type { ChangeFeed } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import type { CommitOutcome } from '../../store/commit.ts'
import type { Store } from '../../store/store.ts'

/** One op's outcome, before it is known whether its level was reached. */
export interface Written {
  readonly result: OpResult
  /** The result holds once everything committed up to now is stored. */
  readonly isDurablePending: boolean
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

  /** Applies one op. The map is in memory. */
  write(session: Session, op: ClientOp, opId: string, level: WriteConcern): Written {
    const { committer, residency } = this.#store
    const refusal = committer.refusal(level)
    if (refusal !== undefined) return { result: refused(opId, refusal), isDurablePending: false }
    const grant = session.rights(this.#authorizer, op.mapName).write
    if (grant === undefined) {
      return {
        result: refused(opId, forbidden(op.mapName, op.opType === 'REMOVE' ? 'REMOVE' : 'PUT')),
        isDurablePending: false,
      }
    }
    const map = residency.resident(op.mapName)
    if (map === undefined) throw new Error(`Map '${op.mapName}' is not in memory`)
    const outcome = committer.write(map, op, grant)
    if (!outcome.ok) return { result: refused(opId, outcome.error), isDurablePending: false }
    this.#note(session, outcome)
    const result: OpResult = {
      opId,
      success: true,
      achievedLevel: committer.levelGiven(level),
      latencyMs: 0,
      seq: outcome.seq,
      ...(outcome.superseded ? { superseded: true } : {}),
    }
    return { result, isDurablePending: level === 'PERSISTED' || level === 'REPLICATED' }
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
