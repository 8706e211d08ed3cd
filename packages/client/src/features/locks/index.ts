import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import { promised } from '../../stand-in.ts'
import type { Lock, LockOptions } from './handle.ts'

/** Locks, whose code is loaded when the first one is asked for. Each handle is one asking. */
export const locks: LateDefinition<LockOptions, Promise<Lock>> = {
  code: code(() => import('./state.ts')),
  standIn: promised,
}
