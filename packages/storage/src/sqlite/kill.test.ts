import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { batchOf } from '../../test/killed-batch.ts'
import type { StoredRecord } from '../adapter.ts'
import { Random } from '../testing/random-batches.ts'
import { sqliteStorage } from './index.ts'

const ROUNDS = 20
const child = fileURLToPath(new URL('../../test/write-until-killed.ts', import.meta.url))

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'syncline-kill-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

/** Lets a process write until it has said so `acknowledgements` times, kills it, and returns the last seq it printed. */
async function writeAndKill(path: string, acknowledgements: number): Promise<number> {
  const process_ = spawn(process.execPath, ['--conditions=@syncline/source', child, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(process_, 'exit')
  let last = 0
  let count = 0
  for await (const line of createInterface({ input: process_.stdout })) {
    last = Number(line)
    if (++count === acknowledgements) process_.kill('SIGKILL')
  }
  const [, signal] = (await exit) as [number | null, string | null]
  expect(signal).toBe('SIGKILL')
  return last
}

it(`INV-6: what was written survives kill -9, whole, ${ROUNDS} times`, { timeout: 120_000 }, async () => {
  const path = join(folder, 'killed.db')
  const random = new Random(6)
  let checkedSeq = 0
  for (let round = 0; round < ROUNDS; round++) {
    const lastPrinted = await writeAndKill(path, 1 + random.below(round % 4 === 0 ? 400 : 40))
    const storage = sqliteStorage({ path })
    const { durableSeq } = await storage.open('killed')
    expect(lastPrinted).toBeGreaterThan(checkedSeq)
    expect(durableSeq).toBeGreaterThanOrEqual(lastPrinted)

    const found: StoredRecord[] = []
    for await (const page of storage.load('killed')) found.push(...page)
    const expected: StoredRecord[] = []
    for (let seq = checkedSeq + 1; seq <= durableSeq; seq++) {
      expected.push(...batchOf(seq).records.filter(({ mapName }) => mapName === 'killed'))
      expect(await storage.get(`value/${seq}`)).toBe('x'.repeat(seq % 500))
    }
    const byKey = (a: StoredRecord, b: StoredRecord): number => (a.key < b.key ? -1 : 1)
    expect(found.sort(byKey)).toStrictEqual(expected.sort(byKey))
    expect(await storage.get('latest')).toBe(durableSeq)
    expect(await storage.changesSince('shared', 0, 9)).toMatchObject([{ seq: durableSeq, version: durableSeq }])
    const stolen = { mapName: 'killed', field: 'seq', value: durableSeq, key: 'thief' }
    expect(await storage.write({ records: [], seq: 0, unique: [stolen] })).toMatchObject({ holder: String(durableSeq) })

    // Checked records are dropped, so that a round does not take longer than the one before it.
    await storage.write({ records: [], seq: 0, forget: found.map(({ mapName, key, seq }) => ({ mapName, key, seq })) })
    checkedSeq = durableSeq
    await storage.close()
  }
})
