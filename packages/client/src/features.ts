import { code, type Code } from './code.ts'
import { counters } from './features/counters/handle.ts'
import { journal } from './features/journal/index.ts'
import { locks } from './features/locks/index.ts'
import { questions } from './features/queries/index.ts'
import { rooms } from './features/rooms/handle.ts'
import { search } from './features/search/handle.ts'
import { topics } from './features/topics/handle.ts'
import { sets } from './features/sets/handle.ts'
import type { LateFeatures } from './late.ts'

/** The features whose handles a contract names, by its part. Their code is loaded when a handle is first used. */
export const contractFeatures = { sets, counters, topics, rooms } as const satisfies LateFeatures

/** What every client needs, and none at once. */
export const backgroundCode = code(() => import('./background.ts'))

/** All code that is loaded late. */
export const lateCode: readonly Code<unknown>[] = [
  backgroundCode,
  locks.code,
  questions.code,
  search.code,
  journal.code,
  ...Object.values<LateFeatures[string]>(contractFeatures).map((feature) => feature.code),
]
