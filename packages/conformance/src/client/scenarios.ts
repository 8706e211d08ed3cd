import type { Scenario } from './scenario.ts'
import { followingScenarios } from './scenarios/following.ts'
import { sessionScenarios } from './scenarios/session.ts'
import { writeScenarios } from './scenarios/writes.ts'

/** What every client is put through. */
export const scenarios: readonly Scenario[] = [...sessionScenarios, ...writeScenarios, ...followingScenarios]
