import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { afterAll, describe, expect, test } from 'vitest'
import type { Way } from './careless-server.ts'
import { Follower } from './follower.ts'
import { clearHomes, newHome, SECRET } from './home.ts'
import { Journal } from './journal.ts'
import { Random } from './random.ts'
import { inspect, MAPS, MOMENTS, newTally, round, type Moment, type Scene } from './rounds.ts'
import { ServerProcess } from './server-process.ts'

const ROUNDS = Number(process.env.SYNCLINE_KILL_ROUNDS ?? 60)
const SEED = Number(process.env.SYNCLINE_KILL_SEED ?? Date.now() % 1_000_000)

let isRed = false
afterAll(() => {
  if (!isRed) clearHomes()
})

const CARELESS = fileURLToPath(new URL('./careless-server.ts', import.meta.url))

async function sceneOf(seed: number, way?: Way): Promise<Scene> {
  const home = await newHome()
  const journal = new Journal(join(home.folder, 'journal.ndjson'))
  const scene = { ...home, journal, follower: new Follower(MAPS, journal), random: new Random(seed) }
  if (way === undefined) return scene
  const careless = {
    ...scene,
    start: () =>
      ServerProcess.script(CARELESS, [way, home.path, SECRET], home.folder, ['--conditions=@syncline/source']),
  }
  // With synchronous=NORMAL, SQLite flushes its log at checkpoints only: when power fails, the log since then is gone.
  return way === 'unflushed' ? { ...careless, crashed: () => truncateSync(`${home.path}-wal`, 0) } : careless
}

test(
  `[INV-6] ${ROUNDS} rounds of kill -9 take nothing that was acknowledged PERSISTED, and what a client holds comes back`,
  { timeout: 60_000 + ROUNDS * 10_000 },
  async () => {
    const scene = await sceneOf(SEED)
    const { journal, folder } = scene
    const tally = newTally()
    await startAndStop(scene)
    let databaseId: string | undefined
    for (let i = 0; i < ROUNDS; i++) {
      const moment = MOMENTS[i % MOMENTS.length] ?? 'at an acknowledgement'
      databaseId = await round(scene, moment, databaseId, tally)
      isRed = journal.problems.length > 0
      expect(journal.problems, `round ${i}, killed ${moment}; seed ${SEED}; everything is kept in ${folder}`).toEqual(
        [],
      )
    }
    journal.problems.push(...(await endInPeace(scene, tally)))
    isRed = journal.problems.length > 0
    expect(journal.problems).toEqual([])
    // Otherwise the kills came too late to hurt.
    if (ROUNDS >= 60) expect(tally.broughtBack).toBeGreaterThan(0)
    console.log(summaryOf(scene, tally))
  },
)

describe('the audit goes red where', () => {
  const careless: [what: string, way: Way, moment: Moment, finding: RegExp][] = [
    [
      'writes are acknowledged before they are stored',
      'hasty',
      'at an acknowledgement',
      /Lost: .* acknowledged PERSISTED/,
    ],
    ['power fails and synchronous is NORMAL', 'unflushed', 'between two messages', /Lost: .* acknowledged PERSISTED/],
    [
      'seqs and versions are not set aside ahead of use',
      'forgetful',
      'at an acknowledgement',
      /had been given out before/,
    ],
    ['later commits are stored before earlier ones', 'unordered', 'while a group is committed', /Hole: /],
  ]
  test.each(careless)('%s', { timeout: 120_000 }, async (_, way, moment, finding) => {
    const scene = await sceneOf(SEED, way)
    const tally = newTally()
    // The schema is in the file, whatever becomes of the log.
    await startAndStop(scene)
    for (let i = 0; i < 20 && !finding.test(scene.journal.problems.join('\n')); i++) {
      await round(scene, moment, undefined, tally)
    }
    expect(scene.journal.problems.join('\n')).toMatch(finding)
  })
})

async function startAndStop(scene: Scene): Promise<void> {
  const server = scene.start()
  await server.ready
  expect(await server.stop()).toBe(0)
}

/** A clean stop and start: exit code 0, everything there, no new lost range, a whole file. */
async function endInPeace(scene: Scene, tally: ReturnType<typeof newTally>): Promise<string[]> {
  const { journal } = scene
  const problems: string[] = []
  for (let i = 0; i < 2; i++) {
    const server = scene.start()
    await inspect(scene, await server.ready, tally)
    journal.begin()
    const code = await server.stop()
    tally.lastStop = 'clean'
    if (code !== 0) problems.push(`The server was asked to stop and ended with ${code}:\n${server.output}`)
  }
  const database = new Database(scene.path, { readonly: true })
  const check = database.pragma('integrity_check', { simple: true })
  database.close()
  if (check !== 'ok') problems.push(`integrity_check says ${String(check)}`)
  return problems
}

function summaryOf(
  { journal, follower }: Scene,
  { rounds, moments, lostInMemory, broughtBack, startMs }: ReturnType<typeof newTally>,
): string {
  const median = startMs.toSorted((a, b) => a - b)[startMs.length >> 1] ?? 0
  return [
    `${rounds} rounds (seed ${SEED}), ${journal.acknowledgedCount} acknowledged writes, 0 lost;`,
    `${lostInMemory} in memory only died with the server, of which the follower brought back ${broughtBack};`,
    `${follower.repairedCount} of the follower's copies had to be repaired by their digest;`,
    `start to ready ${Math.round(median)} ms (median).`,
    [...moments].map(([moment, count]) => `${count} ${moment}`).join(', '),
  ].join('\n')
}
