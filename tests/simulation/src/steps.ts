import type { WriteOptions } from '@syncline/client'
import type { ServerEnd } from './server-host.ts'

/** How long faults and writes go on. After that everything heals. */
export const BUSY_MS = 40_000

/** What an application does to a key. */
export type Act = 'put' | 'patch' | 'unset' | 'remove'

/** How much must have happened on the server before it acknowledges. */
export type WriteLevel = NonNullable<WriteOptions['concern']>

/** One thing that happens at a moment. `n` chooses among what is there then. */
export type Step = {
  readonly atMs: number
  readonly n: number
  /** The machine that does it or that it befalls, by its place; without it `n` chooses. */
  readonly on?: number
} & (
  | {
      readonly kind: 'write'
      readonly mapName: string
      readonly key: string
      readonly act: Act
      readonly fields: readonly string[]
      readonly level: WriteLevel
      readonly waitFor: 'applied' | 'persisted' | undefined
      readonly times: number
      /** How long a record under a key for such lives. */
      readonly ttlMs: number
    }
  | {
      readonly kind: 'bare write'
      readonly mapName: string
      readonly key: string
      readonly act: Act
      readonly twin: boolean
      readonly field: string
      /** How long after it was stamped it is sent: what is written meanwhile overtakes it. */
      readonly lateMs: number
      readonly isTwice: boolean
    }
  | {
      readonly kind: 'tally'
      readonly act: 'add' | 'remove' | 'count'
      readonly level: WriteLevel
      /** What is removed is what was added last; without it `n` chooses. */
      readonly isLatest?: boolean
    }
  | {
      readonly kind: 'lock'
      readonly name: string
      readonly ttlMs: number
      readonly waitMs: number
      readonly holdMs: number
      readonly renewAfterMs: number | undefined
      /** Writes under the lock, spread over the time for which it is held. */
      readonly writes: number
      /** It writes also after it was told that the lock is lost. */
      readonly isCareless: boolean
      readonly isReleased: boolean
      readonly level: WriteLevel
    }
  | { readonly kind: 'publish'; readonly times: number; readonly bytes: number }
  | { readonly kind: 'show' }
  | { readonly kind: 'replay' }
  | {
      readonly kind: 'crash tab'
      readonly backAfterMs: number
      readonly isMachineOff: boolean
      readonly isReload: boolean
    }
  | { readonly kind: 'close tab'; readonly isPolite: boolean }
  | { readonly kind: 'open tab' }
  | { readonly kind: 'duplicate tab' }
  | { readonly kind: 'go offline'; readonly forMs: number }
  | { readonly kind: 'wake' }
  | { readonly kind: 'partition'; readonly direction: 'up' | 'down' | 'both'; readonly forMs: number }
  | { readonly kind: 'reset'; readonly isServerTold: boolean }
  | { readonly kind: 'slow network'; readonly bytesPerMs: number; readonly forMs: number }
  | {
      readonly kind: 'end server'
      readonly how: ServerEnd
      readonly backAfterMs: number
      /** It ends as soon as it has sent a page that is not the last one. */
      readonly isAtPage: boolean
    }
  | { readonly kind: 'stop server'; readonly backAfterMs: number }
  | { readonly kind: 'server disk fails'; readonly fault: 'full' | 'unavailable' | 'io'; readonly forMs: number }
  | { readonly kind: 'server disk slow'; readonly maxMs: number; readonly forMs: number }
  | { readonly kind: 'storage fails'; readonly fault: 'full' | 'broken'; readonly forMs: number }
  | { readonly kind: 'storage slow'; readonly maxMs: number; readonly forMs: number }
  | { readonly kind: 'sign-in fails'; readonly fault: 'down' | 'gives old tokens'; readonly forMs: number }
  | { readonly kind: 'sign out'; readonly forMs: number }
  | { readonly kind: 'change user'; readonly isAnother: boolean }
  | { readonly kind: 'pry' }
  /** All clocks go on: nothing happens in the world for so long. */
  | { readonly kind: 'days pass'; readonly days: number }
  | { readonly kind: 'clock jumps'; readonly byMs: number; readonly isServer: boolean }
)

export const FIELDS: readonly string[] = ['a', 'b', 'c']
export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS
