// This module loads no product: patches have to be in place before that.
import { FEATURE_MUTANTS } from './mutants-of-features.ts'
import { RETENTION_MUTANTS } from './mutants-of-retention.ts'
import { SYNC_MUTANTS } from './mutants-of-sync.ts'

/** A text of a product's module that is replaced when the module is loaded. */
export interface Patch {
  /** The end of the module's path. */
  readonly file: string
  readonly from: string
  readonly to: string
}

/** A fault that is planted to see whether it is found. It is put on from outside: products know nothing of mutants. */
export interface Mutant {
  readonly name: string
  /** What is wrong with the product then. */
  readonly fault: string
  /** A seed that finds it, so that the test need not search. */
  readonly foundBy: number
  /** Modules are changed as they are loaded. Without patches the world hands in a port that misbehaves: `WRAPPERS`. */
  readonly patches?: readonly Patch[]
}

/** Every planted fault. */
export const MUTANTS: readonly Mutant[] = [...SYNC_MUTANTS, ...RETENTION_MUTANTS, ...FEATURE_MUTANTS]
