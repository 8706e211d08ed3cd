import { Failure, Skipped } from '../failure.ts'
import type { Outcome } from '../run.ts'
import { Driver } from './driver.ts'
import type { Scenario } from './scenario.ts'
import { scenarios } from './scenarios.ts'
import { Script } from './script.ts'

/** Which client, and how it is examined. */
export interface ClientOptions {
  /** The program that drives the client, and its arguments. */
  readonly command: readonly string[]
  readonly only: readonly string[]
  readonly timeoutMs: number
  readonly onOutcome?: (outcome: Outcome) => void
}

/** Scenarios that are under way at once: several wait for seconds. */
const AT_ONCE = 4

/** Puts a client through all scenarios, each with a process and a server of its own. */
export async function examineClient(options: ClientOptions): Promise<readonly Outcome[]> {
  const { only, onOutcome } = options
  const isWanted = ({ rule }: Scenario): boolean =>
    only.length === 0 || only.some((wanted) => rule === wanted || rule.replace(/\d+$/, '') === wanted)
  const chosen = scenarios.filter(isWanted)
  const outcomes = chosen.map((): Outcome | undefined => undefined)
  let next = 0
  let told = 0
  const work = async (): Promise<void> => {
    for (let i = next++; i < chosen.length; i = next++) {
      outcomes[i] = await make(chosen[i] as Scenario, options)
      // In their own order, whichever ends first.
      for (let outcome = outcomes[told]; outcome !== undefined; outcome = outcomes[++told]) onOutcome?.(outcome)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return outcomes.filter((outcome) => outcome !== undefined)
}

async function make({ rule, title, prepare, run }: Scenario, { command, timeoutMs }: ClientOptions): Promise<Outcome> {
  const startedAt = performance.now()
  const about = { group: 'Client', rule, title, encoding: 'json' } as const
  const took = (): { readonly ms: number } => ({ ms: Math.round(performance.now() - startedAt) })
  const script = await Script.start(timeoutMs)
  let driver: Driver | undefined
  try {
    prepare?.(script)
    driver = await Driver.start(command, script.url, rule, Math.max(timeoutMs, 10_000))
    await run(script, driver)
    return { ...about, status: 'passed', ...took() }
  } catch (error) {
    if (error instanceof Skipped) return { ...about, status: 'skipped', reason: error.message, ...took() }
    const { expected, seen } =
      error instanceof Failure ? error : { expected: 'the scenario to come to its end', seen: String(error) }
    return { ...about, status: 'failed', expected, seen, ...took() }
  } finally {
    driver?.end()
    script.stop()
  }
}
