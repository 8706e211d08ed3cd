#!/usr/bin/env node
import { readOptions, usage } from './options.ts'
import { Report, factsInWords, summary } from './report.ts'
import { examineServer, type Outcome } from './run.ts'

const options = readOptions(process.argv.slice(2))
if ('problem' in options) {
  console.error(`conformance: ${options.problem}\n\n${usage}`)
  process.exitCode = 2
} else if ('help' in options) console.log(usage)
else {
  const { isJson, ...target } = options
  const outcomes: Outcome[] = []
  const report = new Report((text) => isJson || process.stdout.write(text), {
    color: process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
    width: process.stdout.columns ?? 100,
    encodings: target.encodings,
  })
  const startedAt = performance.now()
  try {
    await examineServer({
      ...target,
      onServer: (facts) => report.begin(target.url, factsInWords(facts, target.encodings)),
      onOutcome: (outcome) => {
        outcomes.push(outcome)
        report.add(outcome)
      },
    })
    const seconds = (performance.now() - startedAt) / 1000
    report.end(outcomes, seconds)
    const { broken, held, unseen } = summary(outcomes)
    if (isJson) {
      const rules = { held, broken, notSeen: unseen }
      process.stdout.write(`${JSON.stringify({ url: target.url, seconds, rules, checks: outcomes }, undefined, 2)}\n`)
    }
    if (broken.length > 0) process.exitCode = 1
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error)
    console.error(
      `conformance: nothing that speaks the protocol answers at ${target.url} (${cause}). Is the server running, and is the path right?`,
    )
    process.exitCode = 3
  }
}
