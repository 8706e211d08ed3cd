import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import type { Lock, LockOptions } from './handle.ts'

/** Locks, whose code is loaded when the first one is asked for. Each handle is one asking. */
export const locks: LateDefinition<LockOptions, Promise<Lock>> = {
  code: code(() => import('./state.ts')),
  standIn: () => (awaited) =>
    new Promise((resolve, reject) => {
      awaited.use((asked) => void asked.then(resolve, reject), reject, false)
    }),
}
