import type { CounterDef } from '@syncline/protocol/contract'
import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import type { WriteOptions } from '../../offline/op-writer.ts'
import type { Write } from '../../offline/write.ts'
import type { Readable } from '../../readable.ts'
import { opens, readable, writes } from '../../stand-in.ts'

/** A counter: what all devices have added to it, less what they took away. 0 where nobody has counted. */
export interface SyncCounter extends Readable<number> {
  /**
   * Adds a whole number, or takes a negative one away. It counts once, whatever happens on its way. `undo()` takes it back.
   * Throws VALIDATION_ERROR, BAD_KEY, BACKPRESSURE or CLOSED, and TOO_LARGE where all that is added, or taken away, would
   * pass 2^53 − 1.
   */
  add(delta: number, options?: Pick<WriteOptions, 'concern'>): Write
}

/**
 * The counters of a contract: `votes('t1')` is the counter `votes:t1`, `votes()` the one named `votes`. There may be any number of
 * them: beyond 500, those are no longer followed that were looked at longest ago and have no subscribers, until they are
 * looked at again. At most about 1,000 can have subscribers, or writes that wait, at a time: what is added beyond that counts
 * as well, and the client reports LIMIT_EXCEEDED for each that it may not follow then.
 */
export type CountersOf = (name?: string) => SyncCounter

/** Counters. */
export const counters: LateDefinition<CounterDef, CountersOf> = {
  code: code(() => import('./index.ts')),
  isData: true,
  standIn: () => opens(readable<number, Pick<SyncCounter, 'add'>>(0, { add: writes(2) })),
}
