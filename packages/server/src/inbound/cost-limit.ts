import type { Env } from '@syncline/core'
import type { WireError } from '@syncline/protocol'
import type { Session } from '../sessions/session.ts'
import type { Limits } from '../telemetry/limits.ts'

/** How much work the messages of one session may ask for. A unit is a record that is looked at. */
export interface CostLimits {
  readonly enabled: boolean
  readonly maxCostPerSecond: number
  readonly maxCostAtOnce: number
}

/** What a session may still spend, as of a time. Below nothing it owes, and is refused until it no longer does. */
interface Account {
  balance: number
  asOfMs: number
}

/**
 * A token bucket for each session, or for all that have one payer. A message is taken while the session owes nothing, whatever it costs, so that the
 * most costly one is never refused for ever; what it costs is owed from then on. A session that never asked for
 * anything costly has no bucket.
 */
export class CostLimiter {
  readonly #env: Env
  readonly #costs: CostLimits
  readonly #limits: Limits
  readonly #accounts = new WeakMap<object, Account>()

  constructor(env: Env, costs: CostLimits, limits: Limits) {
    this.#env = env
    this.#costs = costs
    this.#limits = limits
  }

  /** Charges a session. Answers why it is refused, and when not any more, if it has spent too much. */
  charge(session: Session, cost: number): WireError | undefined {
    const { enabled, maxCostPerSecond, maxCostAtOnce } = this.#costs
    if (!enabled) return undefined
    const now = this.#env.monotonic()
    let account = this.#accounts.get(session.payer)
    if (account === undefined) this.#accounts.set(session.payer, (account = { balance: maxCostAtOnce, asOfMs: now }))
    const earned = ((now - account.asOfMs) / 1_000) * maxCostPerSecond
    account.balance = Math.min(maxCostAtOnce, account.balance + earned) - session.takeOwed()
    account.asOfMs = now
    if (account.balance < 0) {
      const retryAfterMs = Math.ceil((-account.balance / maxCostPerSecond) * 1_000)
      const limit = 'rateLimiting.maxCostPerSecond'
      return this.#limits.refusal(limit, maxCostPerSecond, { code: 'RATE_LIMITED', retryAfterMs })
    }
    account.balance -= cost
    return undefined
  }
}
