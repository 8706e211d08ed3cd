import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import type { WaitOptions } from '../../readable.ts'
import { promised } from '../../stand-in.ts'

/** One change of a key. */
export interface HistoryEntry<T> {
  /** What the key holds since; `undefined` where it was removed. */
  readonly value: T | undefined
  /** When it was written, by the clock of who did, in milliseconds since 1970. */
  readonly at: number
  /** The id of the user who wrote. */
  readonly by: string
}

/** Which part of a key's history, and how long to wait for it. */
export interface HistoryOptions extends WaitOptions {
  /** Most entries to give; 100 where it is absent. */
  readonly limit?: number
}

/** The history of keys, whose code is loaded when it is first asked for. Each handle is one asking. */
export const journal: LateDefinition<
  HistoryOptions & { readonly key: string },
  Promise<readonly HistoryEntry<never>[]>
> = {
  code: code(() => import('./state.ts')),
  standIn: promised,
}
