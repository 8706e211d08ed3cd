import { randomBytes } from 'node:crypto'
import { checkGroups } from './checks.ts'
import type { Check, CheckGroup } from './check.ts'
import { Failure, Skipped } from './failure.ts'
import { Observer } from './observer.ts'
import { meet } from './meet.ts'
import { Trial, type ServerFacts, type Target } from './trial.ts'
import type { Encoding } from './wire.ts'

/** What became of one check in one encoding. */
export interface Outcome {
  readonly group: string
  readonly rule: string
  readonly title: string
  readonly encoding: Encoding
  readonly status: 'passed' | 'failed' | 'skipped'
  readonly ms: number
  /** Why it was skipped. */
  readonly reason?: string
  /** Where it failed: what was to come, and what came. */
  readonly expected?: string
  readonly seen?: string
}

/** What to examine. */
export interface RunOptions extends Target {
  readonly encodings: readonly Encoding[]
  /** Rules, or beginnings of their ids. Empty: all. */
  readonly only: readonly string[]
  readonly onOutcome?: (outcome: Outcome) => void
  readonly onServer?: (facts: ServerFacts) => void
}

/** Which of the checks are made. */
export function selectedChecks(only: readonly string[]): readonly CheckGroup[] {
  if (only.length === 0) return checkGroups
  const isWanted = ({ rule }: Check): boolean =>
    only.some((wanted) => rule === wanted || (/^[A-Z]+$/.test(wanted) && rule.replace(/\d+$/, '') === wanted))
  return checkGroups
    .map(({ name, checks }) => ({ name, checks: checks.filter(isWanted) }))
    .filter(({ checks }) => checks.length > 0)
}

/** Examines a server, one check after the other. It throws Unusable where there is no use in that. */
export async function examineServer(options: RunOptions): Promise<readonly Outcome[]> {
  const facts = await meet(options)
  options.onServer?.(facts)
  const run = randomBytes(4).toString('hex')
  const observer = new Observer()
  const outcomes: Outcome[] = []
  const tell = (outcome: Outcome): void => {
    outcomes.push(outcome)
    options.onOutcome?.(outcome)
  }
  for (const { name, checks } of selectedChecks(options.only)) {
    for (const check of checks) {
      for (const encoding of check.encodings ?? options.encodings) {
        if (!options.encodings.includes(encoding)) continue
        const trial = new Trial(options, facts, run, encoding)
        tell({ group: name, ...(await make(check, trial)) })
        observer.look(trial.received)
        for (const code of trial.closes) observer.closed(code, encoding)
      }
    }
  }
  for (const outcome of observer.outcomes(options.encodings)) {
    if (options.only.length === 0 || options.only.some((wanted) => outcome.rule.startsWith(wanted))) tell(outcome)
  }
  return outcomes
}

async function make(check: Check, trial: Trial): Promise<Omit<Outcome, 'group'>> {
  const startedAt = performance.now()
  const { rule, title } = check
  const about = { rule, title, encoding: trial.encoding }
  const took = (): { readonly ms: number } => ({ ms: Math.round(performance.now() - startedAt) })
  try {
    try {
      await check.run(trial)
    } finally {
      await trial.end()
    }
    return { ...about, status: 'passed', ...took() }
  } catch (error) {
    if (error instanceof Skipped) return { ...about, status: 'skipped', reason: error.message, ...took() }
    const { expected, seen } =
      error instanceof Failure ? error : { expected: 'the check to come to its end', seen: String(error) }
    return { ...about, status: 'failed', expected, seen, ...took() }
  }
}
