import type { Trial } from './trial.ts'
import type { Encoding } from './wire.ts'

/** One thing that a rule says, and how it is seen from outside. */
export interface Check {
  /** The rule's id in a SPEC.md. */
  readonly rule: string
  /** What holds, as a sentence without a full stop. */
  readonly title: string
  /** In which encodings it is made; in both where this is absent. */
  readonly encodings?: readonly Encoding[]
  /** Throws a Failure where the rule does not hold, and Skipped where that cannot be seen. */
  readonly run: (trial: Trial) => Promise<void>
}

/** Checks of one part of the protocol. */
export interface CheckGroup {
  readonly name: string
  readonly checks: readonly Check[]
}
