import { runScenario } from './run-seed.ts'
import type { Scenario } from './scenario.ts'
import type { Step } from './steps.ts'
import type { Wrappers } from './world-options.ts'

/** Runs that shortening may take. */
const MOST_RUNS = 300

/**
 * Leaves out steps of a failing scenario, by halves, quarters and so on, as long as the same rule is broken.
 * Source: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002).
 */
export async function shrink(scenario: Scenario, rule: string, wrappers: Wrappers): Promise<readonly Step[]> {
  let steps = scenario.steps
  let runs = 0
  const breaks = async (some: readonly Step[]): Promise<boolean> =>
    (await runScenario({ ...scenario, steps: some }, { wrappers })).violation?.rule === rule
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < steps.length && runs < MOST_RUNS;) {
      const rest = [...steps.slice(0, from), ...steps.slice(from + size)]
      runs++
      if (await breaks(rest)) steps = rest
      else from += size
    }
  }
  return steps
}
