import type { FeatureDefinition } from './feature.ts'
import { maps } from './features/maps/index.ts'
import { merkleSync } from './features/merkle-sync/index.ts'
import { queries } from './features/queries/index.ts'
import { sessions } from './features/sessions/index.ts'

/** The features that every server has, in the order in which they start. The table of contents. */
export const builtInFeatures: readonly FeatureDefinition[] = [sessions, maps, merkleSync, queries]
