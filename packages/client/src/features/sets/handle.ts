import type { AnySetDef } from '@syncline/protocol/contract'
import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import type { WriteOptions } from '../../offline/op-writer.ts'
import type { Write } from '../../offline/write.ts'
import type { Readable } from '../../readable.ts'
import { answers, opens, readable, writes } from '../../stand-in.ts'

/**
 * A set of values. What one device adds while another removes the same value stays: a removal removes what its device
 * had seen. Equal values are there once, objects too; they come in the order in which they were added first.
 */
export interface SyncSet<I, T> extends Readable<ReadonlySet<T>> {
  /** Adds a value. Throws VALIDATION_ERROR, BAD_VALUE, BAD_KEY, TOO_LARGE, TOO_DEEP, BACKPRESSURE or CLOSED. */
  add(value: I, options?: WriteOptions): Write
  /** Removes every value that equals this one. */
  delete(value: I, options?: Pick<WriteOptions, 'concern'>): Write
  /** A value that equals this one is in it. `get().has` knows an object by what it is, not by what it holds. */
  has(value: I): boolean
}

/** The sets of a contract: `tags('t1')` is the set under the key `t1`, `tags()` the one under the name of all. */
export type SetsOf<I, T> = (name?: string) => SyncSet<I, T>

const EMPTY: ReadonlySet<unknown> = new Set()

/** Sets. */
export const sets: LateDefinition<AnySetDef, SetsOf<unknown, unknown>> = {
  code: code(() => import('./index.ts')),
  isData: true,
  standIn: () =>
    opens(
      readable<ReadonlySet<unknown>, Pick<SyncSet<unknown, unknown>, 'add' | 'delete' | 'has'>>(EMPTY, {
        add: writes(2),
        delete: writes(2),
        has: answers(false),
      }),
    ),
}
