// What a first sync costs a client: its CPU in Node beside parsing the same frames, and the wait in a browser.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { median } from '../lib/histogram.ts'
import { startProcess } from '../lib/processes.ts'
import { profileReport } from '../lib/profile.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import { findChromium, openPages, type Opening } from './chromium.ts'
import type { Spent } from './load.ts'

const RECORDS = 100_000
const REPEATS = 3

const PARSE = 'JSON.parse'
const KEEP = 'JSON.parse, merge, Map.set'
const SMALL = 'first sync, live query of 50 rows'
const ALL = 'first sync, live query of all rows'

/** Milliseconds of CPU until 100,000 records are usable. */
export const suite: Suite = {
  name: 'first-sync',
  title:
    '100,000 records of about 100 bytes into an empty client: CPU until usable in Node (JSON, memory storage); ' +
    'time on the clock in Chromium (IndexedDB, from a server)',
  async run(settings, log) {
    const seen = new Map<string, Spent[]>([PARSE, KEEP, SMALL, ALL].map((name) => [name, []]))
    if (settings.isProfile) {
      await measure(ALL, settings, log)
      return []
    }
    const count = settings.isQuick ? 1 : settings.rounds * REPEATS
    for (let i = 0; i < count; i++) {
      for (const [name, all] of seen) all.push(await measure(name, settings, log))
    }
    const of = (name: string, which: keyof Spent): number => median((seen.get(name) ?? []).map((one) => one[which]))
    log(`${(of(PARSE, 'bytes') / 1e6).toFixed(1)} MB in frames; each measurement in a process of its own`)
    const row = (name: string): Row => ({
      name,
      figure: of(name, 'usableMs'),
      unit: 'ms',
      note: `${of(name, 'ms').toFixed(0)} ms on the clock; CPU ${of(name, 'cpuMs').toFixed(0)} ms until stored`,
    })
    const shared = (name: string): Row => ({
      ...row(name),
      goal: 2_000,
      ratio: { of: PARSE, value: of(name, 'usableMs') / of(PARSE, 'usableMs') },
    })
    const inNode = [row(PARSE), row(KEEP), shared(SMALL), shared(ALL)]
    return [...inNode, ...(await inChromium(settings.isQuick ? 1 : settings.rounds, log))]
  },
}

/** Milliseconds on the clock in a browser, where there is one: the first opening of a page, and the next. */
async function inChromium(count: number, log: (line: string) => void): Promise<readonly Row[]> {
  const chromium = findChromium()
  if (chromium === undefined) {
    log('There is no Chromium on the path: its rows are left out.')
    return []
  }
  const all = await openPages(chromium, RECORDS, count)
  const row = (name: string, figureOf: (openings: (typeof all)[number]) => number, opening: 'first' | 'next'): Row => {
    const of = (which: keyof Opening): string => median(all.map((one) => one[opening][which])).toFixed(0)
    const note = `CPU of the main thread ${of('mainThreadMs')} ms; first rows ${of('firstRowsMs')} ms, stored ${of('storedMs')} ms; longest task ${of('longestTaskMs')} ms`
    return { name, figure: median(all.map(figureOf)), unit: 'ms', note }
  }
  return [
    { ...row('Chromium: first sync', ({ first }) => first.liveMs, 'first'), goal: 2_000 },
    row('Chromium: next opening', ({ next }) => next.liveMs, 'next'),
  ]
}

async function measure(name: string, { isProfile }: Settings, log: (line: string) => void): Promise<Spent> {
  const load = await startProcess(
    new URL('load.ts', import.meta.url),
    {},
    { core: 'load', nodeArguments: ['--expose-gc'] },
  )
  try {
    await load.call('prepare', { records: RECORDS })
    if (isProfile) await load.call('startProfile')
    const spent =
      name === PARSE
        ? await load.call<Spent>('parseOnly')
        : name === KEEP
          ? await load.call<Spent>('parseAndKeep')
          : await load.call<Spent>('sync', { limit: name === SMALL ? 50 : 0 })
    if (isProfile) {
      const folder = mkdtempSync(join(tmpdir(), 'syncline-bench-'))
      const file = join(folder, 'client.cpuprofile')
      await load.call('stopProfile', file)
      for (const line of profileReport(file)) log(line)
      rmSync(folder, { recursive: true, force: true })
    }
    return spent
  } finally {
    await load.stop()
  }
}
