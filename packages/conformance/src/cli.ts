#!/usr/bin/env node
import { examineClient } from './client/examine.ts'
import { Unusable } from './meet.ts'
import { readOptions, usage, type CommandOptions } from './options.ts'
import { Report, factsInWords, summary } from './report.ts'
import { examineServer, type Outcome } from './run.ts'

const options = readOptions(process.argv.slice(2))
if ('problem' in options) {
  console.error(`conformance: ${options.problem}\n\n${usage}`)
  process.exitCode = 2
} else if ('help' in options) console.log(usage)
else process.exitCode = await run(options)

async function run({ isJson, subject, only, timeoutMs }: CommandOptions): Promise<number> {
  const encodings = subject.kind === 'server' ? subject.encodings : (['json'] as const)
  const name = subject.kind === 'server' ? subject.url : subject.command.join(' ')
  const outcomes: Outcome[] = []
  const report = new Report((text) => isJson || process.stdout.write(text), {
    color: process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
    width: process.stdout.columns ?? 100,
    encodings,
  })
  const onOutcome = (outcome: Outcome): void => {
    outcomes.push(outcome)
    report.add(outcome)
  }
  const startedAt = performance.now()
  try {
    if (subject.kind === 'server') {
      const onServer = (facts: Parameters<typeof factsInWords>[0]): void =>
        report.begin(name, factsInWords(facts, encodings))
      await examineServer({ ...subject, only, timeoutMs, onServer, onOutcome })
    } else {
      report.begin(name, ['a client', 'one process for each scenario'])
      await examineClient({ ...subject, only, timeoutMs, onOutcome })
    }
  } catch (error) {
    if (!(error instanceof Unusable)) throw error
    console.error(`conformance: ${error.message}`)
    return error.isCommand ? 2 : 3
  }
  const seconds = (performance.now() - startedAt) / 1000
  report.end(outcomes, seconds)
  const { broken, held, unseen } = summary(outcomes)
  if (isJson) {
    const rules = { held, broken, notSeen: unseen }
    process.stdout.write(`${JSON.stringify({ subject: name, seconds, rules, checks: outcomes }, undefined, 2)}\n`)
  }
  return broken.length > 0 ? 1 : 0
}
