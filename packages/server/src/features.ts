import type { FeatureDefinition } from './feature.ts'
import { journal } from './features/journal/index.ts'
import { counters } from './features/counters/index.ts'
import { locks } from './features/locks/index.ts'
import { httpSync } from './features/http-sync/index.ts'
import { maps } from './features/maps/index.ts'
import { merkleSync } from './features/merkle-sync/index.ts'
import { partitions } from './features/partitions/index.ts'
import { queries } from './features/queries/index.ts'
import { rooms } from './features/rooms/index.ts'
import { search } from './features/search/index.ts'
import { sessions } from './features/sessions/index.ts'
import { sets } from './features/sets/index.ts'
import { topics } from './features/topics/index.ts'
import type { KernelOptions, OptionsOf } from './options.ts'

/** The features that every server has, in the order in which they start. The table of contents. */
export const builtInFeatures = [
  sessions,
  maps,
  merkleSync,
  sets,
  counters,
  queries,
  locks,
  partitions,
  httpSync,
  topics,
  rooms,
  search,
  journal,
] as const satisfies readonly FeatureDefinition[]

type BuiltInOptions = OptionsOf<typeof builtInFeatures>

/** What `createServer` takes. Every member may be left out. The options of a feature stand under its name. */
export interface ServerOptions extends KernelOptions, BuiltInOptions {
  /** The features to run. The built-in ones by default. */
  readonly features?: readonly FeatureDefinition[]
}
