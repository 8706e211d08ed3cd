// `npm test`: build, type-check and run every package's `test` script, then say in the last line how many tests passed and
// failed in all. Every suite is a vitest suite: it takes vitest's arguments and writes its results as JSON.

import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { prepareWorkspace, readJson, run, step, tellFailed, tellPassed, workspacePackages } from './workspace.mjs'

const pollMs = 250

export async function main() {
  const { env } = await prepareWorkspace()
  const failedSteps = []
  for (const task of ['build', 'typecheck']) {
    if (!(await step(task, () => run('turbo', ['run', task, '--continue', '--output-logs=errors-only'], { env }))))
      failedSteps.push(task)
  }
  finish(await runSuites(env), failedSteps)
}

/** Runs every suite, tells each as it ends, and returns `{ passed, failed, skipped }` over all of them. */
export async function runSuites(env) {
  const report = join('.turbo', `tests.${process.pid}.json`)
  const suites = workspacePackages().filter(({ manifest }) => manifest.scripts?.test !== undefined)
  const totals = { passed: 0, failed: 0, skipped: 0 }
  const waiting = new Map(suites.map((suite) => [suite, join(suite.path, report)]))
  const startedAt = Date.now()
  const collect = () => {
    for (const [suite, path] of waiting) {
      const result = readReport(path)
      if (result === undefined) continue
      waiting.delete(suite)
      rmSync(path)
      for (const key of Object.keys(totals)) totals[key] += result[key]
      const title = `${suite.folder}: ${describe(result)}`
      if (result.failed === 0) tellPassed(title, result.endedAt - result.startedAt)
      else tellFailed(title, result.endedAt - result.startedAt)
    }
  }

  const poll = setInterval(collect, pollMs)
  const vitestArgs = ['--passWithNoTests', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const turboArgs = ['run', 'test', '--continue', '--env-mode=loose', '--output-logs=errors-only', '--', ...vitestArgs]
  const { code, output } = await run('turbo', turboArgs, { env })
  clearInterval(poll)
  collect()

  for (const suite of waiting.keys()) {
    tellFailed(`${suite.folder}: ended without a report`, Date.now() - startedAt)
    totals.failed += 1
  }
  if (code !== 0) {
    console.log(output.trimEnd())
    if (totals.failed === 0) totals.failed = 1
  }
  return totals
}

/** The counts of one suite; a file that could not even be loaded counts as one failed test. Undefined until it is whole. */
function readReport(path) {
  if (!existsSync(path)) return undefined
  let report
  try {
    report = readJson(path)
  } catch {
    return undefined
  }
  const unloaded = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0)
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
    startedAt: report.startTime,
    endedAt: Math.max(report.startTime, ...report.testResults.map((file) => file.endTime)),
  }
}

function describe({ passed, failed, skipped }) {
  const counts = [`${passed} passed`]
  if (failed > 0) counts.push(`${failed} failed`)
  if (skipped > 0) counts.push(`${skipped} skipped`)
  return counts.join(', ')
}

/** Prints the last line and sets the exit code; a step that failed counts as one failed test. */
export function finish({ passed, failed, skipped }, failedSteps) {
  if (failedSteps.length > 0) console.log(`\nFailed: ${failedSteps.join(', ')}`)
  if (skipped > 0) console.log(`${skipped} skipped`)
  const failures = failed + failedSteps.length
  console.log(`\n${passed} passed, ${failures} failed`)
  if (failures > 0) process.exitCode = 1
}
