import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { examineClient } from '../src/client/examine.ts'
import { scenarios } from '../src/client/scenarios.ts'
import type { Outcome } from '../src/run.ts'

const driver = fileURLToPath(new URL('driver.mjs', import.meta.url))
const command = [process.execPath, '--conditions=@syncline/source', driver]
const examine = (only: readonly string[], timeoutMs = 15_000): Promise<readonly Outcome[]> =>
  examineClient({ command, only, timeoutMs })
const named = (outcomes: readonly Outcome[], status: Outcome['status']): readonly string[] =>
  outcomes
    .filter((outcome) => outcome.status === status)
    .map(({ rule, expected, seen }) => `${rule} ${expected ?? ''} ${seen ?? ''}`.trim())

afterEach(() => {
  delete process.env['FAULT']
})

describe('the client of this repository', () => {
  test('[CR1] [CR2] [CR3] [CR4] [CR5] [CR6] [CR7] [CR8] [CR9] [CR10] [CR11] [CR12] [CR13] keeps every rule that can be seen', async () => {
    const outcomes = await examine([])
    expect(named(outcomes, 'failed')).toEqual([])
    // It speaks JSON, and a BATCH is for MessagePack.
    expect(named(outcomes, 'skipped')).toEqual(['FR16'])
    expect(outcomes).toHaveLength(scenarios.length)
  })
})

describe('a broken client', () => {
  test.each([
    ['CR4', 'stamps anew what it sends again'],
    ['CR4', 'sends nothing again'],
    ['CR8', 'sends PUT for PATCH'],
    ['CR9', 'follows from null always'],
    ['CR10', 'keeps a cursor that was reset'],
    ['CR11', 'never pushes'],
  ])('[%s] is found to be broken: one that %s', async (rule, fault) => {
    process.env['FAULT'] = fault
    expect(named(await examine([rule], 3_000), 'failed').length).toBeGreaterThan(0)
  })

  test('one whose program ends, or is not there, is told of', async () => {
    const [ended] = await examineClient({
      command: [process.execPath, '-e', 'process.exit(3)'],
      only: ['CR4'],
      timeoutMs: 100,
    })
    expect(ended).toMatchObject({ status: 'failed', expected: 'a line {"ready": true}' })
    expect(ended?.seen).toContain('the program ended with 3')
    const [missing] = await examineClient({ command: ['no-such-program'], only: ['CR4'], timeoutMs: 100 })
    expect(missing?.seen).toContain('could not be started')
  })

  test('one that says what it does not do is not asked for it', async () => {
    const program = `console.log(JSON.stringify({ ready: true, skips: ['CR11'] })); setInterval(() => {}, 1000)`
    const outcomes = await examineClient({ command: [process.execPath, '-e', program], only: ['CR11'], timeoutMs: 100 })
    const skipped = { status: 'skipped', reason: 'the client says that it does not do this' }
    expect(outcomes).toMatchObject(scenarios.filter(({ rule }) => rule === 'CR11').map(() => skipped))
  })
})

test('the command examines a client', async () => {
  const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
  const args = ['--conditions=@syncline/source', cli, 'client', '--only', 'CR9', '--', ...command]
  const stdout = await new Promise<string>((resolve) => execFile(process.execPath, args, (_, text) => resolve(text)))
  expect(stdout).toContain('✓ CR9')
  expect(stdout).toMatch(/1 rules {3}1 hold/)
})
