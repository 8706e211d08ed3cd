import { ERRORS, wireError, type ErrorCode, type WireError } from '@syncline/protocol'
import type { LabelledSeries, Metrics } from './metrics.ts'

/** How a limit refuses, where it does so in another way than most. */
export interface RefusalOptions {
  /** `LIMIT_EXCEEDED` by default. */
  readonly code?: Extract<ErrorCode, 'BACKPRESSURE' | 'LIMIT_EXCEEDED' | 'OVERLOADED' | 'RATE_LIMITED' | 'TOO_LARGE'>
  /** Cause and fix. The sentence of the error table by default. */
  readonly message?: string
  /** Milliseconds after which the same may be asked again. */
  readonly retryAfterMs?: number
}

/** The one way in which a bound refuses: the client learns which limit it was and how large it is, the operator how often. */
export class Limits {
  readonly #refusals: LabelledSeries<'limit'>

  constructor(metrics: Metrics) {
    this.#refusals = metrics.labelledCounter(
      'syncline_limit_refusals_total',
      'What was refused because of a limit, by the name of the limit.',
      ['limit'],
    )
  }

  /**
   * The error for what goes beyond a limit, counted: details `{ limit, max }`. `limit` is a name of `LIMITS` or of an
   * option, with that of its group (`locks.maxPerConnection`); `max` is its value.
   */
  refusal(
    limit: string,
    max: number,
    { code = 'LIMIT_EXCEEDED', message, retryAfterMs }: RefusalOptions = {},
  ): WireError {
    this.count(limit)
    return wireError(code, message ?? `${ERRORS[code].help} The bound is ${limit}: ${max}.`, {
      limit,
      max,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    })
  }

  /** Counts a refusal that the protocol made, which knows its limits and nothing of who counts. */
  note({ details }: Pick<WireError, 'details'>): void {
    if (typeof details?.['limit'] === 'string') this.count(details['limit'])
  }

  /** Counts a refusal for which no message is sent, or one that is made elsewhere. */
  count(limit: string): void {
    this.#refusals.of({ limit }).add()
  }
}
