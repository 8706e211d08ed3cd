// Records written to and read from SQLite storage, beside what better-sqlite3 does on its own with the same records.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { memoryStorage, type StorageAdapter, type StoredRecord } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import Database from 'better-sqlite3'
import type { Row, Settings, Suite } from '../lib/suite.ts'

/** Batches under way at once: enough that the worker never waits, few enough that memory stays small. */
const IN_FLIGHT = 32
const RECORDS_TO_LOAD = 100_000

type KeyOf = (n: number) => string

const rising: KeyOf = (n) => `todo-${String(n).padStart(9, '0')}`
const random: KeyOf = (n) => `${(Math.imul(n, 2_654_435_761) >>> 0).toString(36)}-${n}`
const ofTenThousand: KeyOf = (n) => rising(Math.imul(n, 7919) % 10_000)

interface Work {
  readonly name: string
  readonly batch: number
  readonly keyOf: KeyOf
  readonly inFlight: number
}

const WORKS: readonly Work[] = [
  { name: 'one record, one at a time', batch: 1, keyOf: rising, inFlight: 1 },
  { name: 'one record, 32 under way', batch: 1, keyOf: rising, inFlight: IN_FLIGHT },
  { name: 'batches of 10', batch: 10, keyOf: rising, inFlight: IN_FLIGHT },
  { name: 'batches of 100', batch: 100, keyOf: rising, inFlight: IN_FLIGHT },
  { name: 'batches of 300', batch: 300, keyOf: rising, inFlight: IN_FLIGHT },
  { name: 'batches of 1000', batch: 1000, keyOf: rising, inFlight: IN_FLIGHT },
  { name: 'batches of 300, random keys', batch: 300, keyOf: random, inFlight: IN_FLIGHT },
  { name: 'batches of 300, 10,000 keys again and again', batch: 300, keyOf: ofTenThousand, inFlight: IN_FLIGHT },
]

interface Measured {
  readonly rate: number
  /** Microseconds of CPU time for each record, of the thread of the caller and of all others together. */
  readonly callerUs: number
  readonly othersUs: number
  readonly p99Ms: number
}

/** Records per second through `write` and `load`. */
export const suite: Suite = {
  name: 'storage',
  title:
    'records of a 50-byte JSON body, flushed at every commit, one file; bare is better-sqlite3 with one table in the same thread',
  async run(settings, log) {
    const samples = new Map<string, Measured[]>()
    const take = (name: string, measured: Measured): void => {
      samples.set(name, [...(samples.get(name) ?? []), measured])
      log(`${name}: ${Math.round(measured.rate).toLocaleString('en')}/s, ${noteOf(measured)}`)
    }
    for (let round = 0; round < settings.rounds; round++) {
      for (const work of WORKS) {
        if (settings.only !== undefined && !work.name.includes(settings.only)) continue
        take(bareName(work), await inFolder((folder) => writeBare(join(folder, 'bare.db'), work, settings)))
        take(
          work.name,
          await inFolder((folder) => writeThrough(sqliteStorage({ path: join(folder, 'data.db') }), work, settings)),
        )
      }
      if (settings.only !== undefined) continue
      take('memory, batches of 300', await writeThrough(memoryStorage(), WORKS[4] as Work, settings))
      take('load', await inFolder((folder) => loadAll(join(folder, 'data.db'))))
      take('open', await inFolder((folder) => openOften(join(folder, 'data.db'))))
    }
    return rowsOf(samples)
  },
}

function bareName({ name }: Work): string {
  return `bare, ${name}`
}

async function inFolder<Result>(action: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-bench-storage-'))
  try {
    return await action(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function recordOf(n: number, seq: number, keyOf: KeyOf): StoredRecord {
  const stamp = { millis: 1_700_000_000_000 + n, counter: 0, nodeId: 'client-abcdef' }
  return {
    mapName: 'todos',
    key: keyOf(n),
    seq,
    version: 1,
    arrival: { millis: stamp.millis, counter: 1, nodeId: 'server' },
    record: { value: { title: `Todo number ${n}`, done: false, rank: n }, timestamp: stamp, base: stamp },
  }
}

function makeBatch(seq: number, { batch, keyOf }: Work): readonly StoredRecord[] {
  return Array.from({ length: batch }, (_, i) => recordOf((seq - 1) * batch + i, seq, keyOf))
}

/** Measures from the end of the warm-up on. */
class Meter {
  readonly #settings: Settings
  readonly #latencies: number[] = []
  readonly #begun = performance.now()
  #startMs = 0
  #cpu = new CpuMeter()
  #records = 0

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Counts a write. Returns false when the time is over. */
  count(records: number, sentMs: number): boolean {
    const now = performance.now()
    if (this.#startMs === 0) {
      if (now - this.#begun < this.#settings.warmUpMs) return true
      this.#startMs = now
      this.#cpu = new CpuMeter()
      return true
    }
    this.#records += records
    this.#latencies.push(now - sentMs)
    return now - this.#startMs < this.#settings.durationMs
  }

  result(): Measured {
    const latencies = this.#latencies.sort((a, b) => a - b)
    return {
      rate: (this.#records / (performance.now() - this.#startMs)) * 1000,
      ...this.#cpu.perRecord(this.#records),
      p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    }
  }
}

/** CPU time says what the code costs even where other processes take the cores. */
class CpuMeter {
  readonly #all = process.cpuUsage()
  readonly #caller = process.threadCpuUsage()

  perRecord(records: number): { callerUs: number; othersUs: number } {
    const all = process.cpuUsage(this.#all)
    const caller = process.threadCpuUsage(this.#caller)
    const callerUs = caller.user + caller.system
    return { callerUs: callerUs / records, othersUs: (all.user + all.system - callerUs) / records }
  }
}

async function writeThrough(storage: StorageAdapter, work: Work, settings: Settings): Promise<Measured> {
  await storage.open('bench')
  const meter = new Meter(settings)
  let seq = 0
  let goesOn = true
  const writer = async (): Promise<void> => {
    while (goesOn) {
      const records = makeBatch(++seq, work)
      const sentMs = performance.now()
      await storage.write({ records, seq })
      goesOn &&= meter.count(records.length, sentMs)
    }
  }
  await Promise.all(Array.from({ length: work.inFlight }, writer))
  const result = meter.result()
  await storage.close()
  return result
}

/** The least that keeps the same: the key, the order, and all of the record as JSON. */
async function writeBare(path: string, work: Work, settings: Settings): Promise<Measured> {
  const db = new Database(path)
  db.pragma('journal_mode = wal')
  db.pragma('synchronous = full')
  db.exec(`create table records (key text primary key, seq integer, body text); create index by_seq on records (seq)`)
  const put = db.prepare('insert or replace into records values (?, ?, ?)')
  const putAll = db.transaction((records: readonly StoredRecord[]) => {
    for (const stored of records) put.run(stored.key, stored.seq, JSON.stringify(stored))
  })
  const meter = new Meter(settings)
  for (let seq = 1; ; seq++) {
    const records = makeBatch(seq, work)
    const sentMs = performance.now()
    putAll(records)
    if (!meter.count(records.length, sentMs)) break
  }
  const result = meter.result()
  db.close()
  return result
}

async function loadAll(path: string): Promise<Measured> {
  const storage = sqliteStorage({ path })
  await storage.open('bench')
  const work = { ...(WORKS[5] as Work), keyOf: random }
  for (let seq = 1; seq <= RECORDS_TO_LOAD / work.batch; seq++)
    await storage.write({ records: makeBatch(seq, work), seq })
  const startMs = performance.now()
  const cpu = new CpuMeter()
  let count = 0
  for await (const page of storage.load('todos')) count += page.length
  const used = cpu.perRecord(count)
  const elapsedMs = performance.now() - startMs
  await storage.close()
  return { rate: (count / elapsedMs) * 1000, ...used, p99Ms: elapsedMs }
}

async function openOften(path: string): Promise<Measured> {
  const startMs = performance.now()
  const cpu = new CpuMeter()
  const times = 10
  for (let i = 0; i < times; i++) {
    const storage = sqliteStorage({ path })
    await storage.open('bench')
    await storage.close()
  }
  const eachMs = (performance.now() - startMs) / times
  return { rate: 1000 / eachMs, ...cpu.perRecord(times), p99Ms: eachMs }
}

function noteOf({ callerUs, othersUs, p99Ms }: Measured): string {
  return `p99 ${p99Ms.toFixed(1)} ms, CPU of a record: caller ${callerUs.toFixed(2)} µs, others ${othersUs.toFixed(2)} µs`
}

function rowsOf(samples: ReadonlyMap<string, readonly Measured[]>): Row[] {
  const middle = (name: string, of: (measured: Measured) => number): number => {
    const sorted = (samples.get(name) ?? []).map(of).sort((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)] ?? 0
  }
  const rate = (name: string): number => middle(name, (measured) => measured.rate)
  const note = (name: string): string =>
    noteOf({
      rate: rate(name),
      callerUs: middle(name, ({ callerUs }) => callerUs),
      othersUs: middle(name, ({ othersUs }) => othersUs),
      p99Ms: middle(name, ({ p99Ms }) => p99Ms),
    })
  const rows: Row[] = []
  for (const work of WORKS) {
    if (!samples.has(work.name)) continue
    const bare = bareName(work)
    rows.push({ name: bare, figure: rate(bare), unit: '/s', note: note(bare) })
    rows.push({
      name: work.name,
      figure: rate(work.name),
      unit: '/s',
      ...(work.name === 'batches of 300' && { goal: 200_000 }),
      ratio: { of: bare, value: rate(work.name) / rate(bare) },
      note: note(work.name),
    })
  }
  if (samples.has('load')) {
    rows.push({ name: 'memory, batches of 300', figure: rate('memory, batches of 300'), unit: '/s' })
    rows.push({ name: 'load of 100,000 records', figure: rate('load'), unit: '/s', note: note('load') })
    rows.push({ name: 'open and close', figure: middle('open', ({ p99Ms }) => p99Ms), unit: 'ms' })
  }
  return rows
}

if (import.meta.main) {
  const isQuick = process.argv.includes('--quick')
  const only = process.argv.find((argument) => argument.startsWith('--only='))?.slice('--only='.length)
  const settings: Settings = {
    rounds: isQuick ? 1 : 3,
    warmUpMs: isQuick ? 300 : 1000,
    durationMs: isQuick ? 1000 : 4000,
    isQuick,
    isProfile: false,
    only,
  }
  const { machine, printTable, readBaselines, writeBaselines } = await import('../lib/report.ts')
  const file = new URL('baselines.json', import.meta.url)
  console.log(`${machine()}\n${suite.name}: ${suite.title}`)
  const rows = await suite.run(settings, (line) => console.log(`  ${line}`))
  printTable(rows, readBaselines(file), (line) => console.log(`  ${line}`))
  if (process.argv.includes('--update')) writeBaselines(file, rows)
}
