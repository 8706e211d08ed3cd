import type { Member } from './handle.ts'

/** Nobody, as one list: before the code of rooms is here, and after. */
export const NOBODY: readonly Member<unknown>[] = []
