// What the parts of core cost on one core. Run: node --conditions=@syncline/source packages/core/bench/benchmark.ts
import { readFileSync, writeFileSync } from 'node:fs'
import {
  HybridClock,
  LwwMap,
  OrMap,
  PnCounter,
  compileOrder,
  compileQuery,
  copyValue,
  formatStamp,
  itemKey,
  measureValue,
  mergeRecords,
  patchRecord,
  wholeWrite,
  type Stamp,
  type Value,
} from '@syncline/core'
import { MerkleTrie, canonicalBytes, fnv1a, itemsDigest, stampDigest, stateDigest } from '@syncline/core/merkle'

interface Work {
  readonly name: string
  /** Operations per second that must be reached. */
  readonly goal?: number
  /** Does so many operations and returns something that depends on all of them, so that none is optimized away. */
  readonly run: (this: void, operations: number) => number
}

const KEYS = 10_000
const keys = Array.from({ length: KEYS }, (_, i) => `todo:${i}`)
const keyHashes = keys.map((key) => fnv1a(key))
const stampAt = (i: number): Stamp => ({
  millis: 1_700_000_000_000 + (i >> 3),
  counter: i & 7,
  nodeId: `node-${i & 3}`,
})
const todo = (i: number): Value => ({
  title: `Buy ${i} litres of milk`,
  done: (i & 1) === 0,
  priority: i & 7,
  tags: ['home', 'shop'],
})
const records = Array.from({ length: KEYS }, (_, i) => wholeWrite(todo(i), stampAt(i)))
const newer = Array.from({ length: KEYS }, (_, i) => wholeWrite(todo(i + 1), stampAt(i + 4 * KEYS)))
const mixed = Array.from({ length: KEYS }, (_, i) => wholeWrite(todo(i + 1), stampAt(i + ((i & 1) === 0 ? 16 : -16))))
const patched = records.map((record, i) =>
  patchRecord(record, { stamp: stampAt(i + 100_000), set: { title: 'new', done: true } }),
)
const patchedElsewhere = records.map((record, i) =>
  patchRecord(record, { stamp: stampAt(i + 100_001), set: { priority: 1 }, unset: ['done'] }),
)
const items = records.map((_, i) =>
  [i, (i + 1) % KEYS, (i + 2) % KEYS].map((at) => ({ tag: formatStamp(stampAt(at)), record: records[at]! })),
)
const matcher = compileQuery({ where: { done: false, priority: { $gte: 3 } } })
const liker = compileQuery({ predicate: { op: 'like', attribute: 'title', value: '%9_ litres%' } })
if (!matcher.ok || !liker.ok) throw new Error('a query of the benchmark does not compile')
const order = compileOrder({ priority: 'desc', title: 'asc' })

/** Repeats `step` over the keys in turn. */
function each(operations: number, step: (i: number) => number): number {
  let sum = 0
  for (let done = 0, i = 0; done < operations; done++) {
    sum += step(i)
    if (++i === KEYS) i = 0
  }
  return sum
}

const work: Work[] = [
  {
    name: 'HLC tick',
    goal: 25_000_000,
    run(operations) {
      const clock = new HybridClock('node-1')
      // Kept, or the engine would not even make the stamps.
      const latest = Array.from({ length: 64 }, () => clock.tick(0))
      for (let i = 0; i < operations; i++) latest[i & 63] = clock.tick(1_700_000_000_000 + (i >> 5))
      return latest.reduce((sum, stamp) => sum + stamp.counter, 0)
    },
  },
  {
    name: 'HLC observe',
    run(operations) {
      const clock = new HybridClock('node-1')
      for (let i = 0; i < operations; i++) clock.observe(records[i % KEYS]!.base, 1_700_000_000_000 + (i >> 5))
      return clock.millis
    },
  },
  {
    name: 'LWW merge, whole records',
    goal: 3_000_000,
    run: (operations) => each(operations, (i) => mergeRecords(records[i]!, mixed[i]!).timestamp.counter),
  },
  {
    name: 'LWW merge into a map of 10,000 keys, every write newer',
    goal: 3_000_000,
    run(operations) {
      const map = new LwwMap()
      let sum = 0
      for (let done = 0, i = 0, round = 0; done < operations; done++) {
        const record = (round & 1) === 0 ? records[i]! : newer[i]!
        sum += map.merge(keys[i]!, record).changed ? 1 : 0
        if (++i === KEYS) [i, round] = [0, round + 1]
      }
      return sum
    },
  },
  {
    name: 'LWW merge, the same write again',
    run: (operations) =>
      each(operations, (i) => (mergeRecords(records[i]!, { ...records[i]! }) === records[i] ? 1 : 0)),
  },
  {
    name: 'PATCH of two fields',
    run: (operations) =>
      each(
        operations,
        (i) => patchRecord(records[i]!, { stamp: newer[i]!.base, set: { title: 'new', done: true } }).timestamp.counter,
      ),
  },
  {
    name: 'LWW merge, field writes on both sides',
    run: (operations) => each(operations, (i) => mergeRecords(patched[i]!, patchedElsewhere[i]!).timestamp.counter),
  },
  {
    name: 'OR add, with its tag and item key, ten values to a key',
    goal: 1_000_000,
    run(operations) {
      let map = new OrMap()
      let sum = 0
      for (let done = 0, at = 0; done < operations; done++, at++) {
        if (at === 10 * KEYS) [map, at] = [new OrMap(), 0]
        const stamp: Stamp = { millis: 1_700_000_000_000 + (at >> 4), counter: at & 15, nodeId: 'node-1' }
        const tag = formatStamp(stamp)
        const key = keys[at % KEYS]!
        sum += map.add(key, tag, at, stamp).changed ? itemKey(tag, key).length : 0
      }
      return sum
    },
  },
  {
    name: 'PN counter: count, and merge the row elsewhere',
    run(operations) {
      const [here, there] = [new PnCounter(), new PnCounter()]
      for (let i = 0; i < operations; i++) there.merge('node-1', here.add('node-1', i & 1 ? 1 : -1))
      return there.value
    },
  },
  {
    name: 'digest of a key with three items, for existing clients',
    run: (operations) => each(operations, (i) => itemsDigest(keys[i]!, items[i]!)),
  },
  {
    name: 'trie update: lane 0 of the old and the new record, taken out and put in',
    goal: 3_000_000,
    run(operations) {
      const trie = new MerkleTrie()
      each(operations, (i) => {
        const hash = keyHashes[i]!
        trie.remove(hash, stampDigest(hash, records[i]!.timestamp), 1)
        trie.add(hash, stampDigest(hash, newer[i]!.timestamp), 2)
        return 0
      })
      return trie.rootHash()
    },
  },
  {
    name: 'trie update: digests at hand',
    run(operations) {
      const trie = new MerkleTrie()
      each(operations, (i) => {
        trie.remove(keyHashes[i]!, i, 1)
        trie.add(keyHashes[i]!, i + 1, 2)
        return 0
      })
      return trie.rootHash()
    },
  },
  {
    name: 'lane 0 of a record',
    run: (operations) => each(operations, (i) => stampDigest(keyHashes[i]!, records[i]!.timestamp)),
  },
  {
    name: 'lane 1 of a record of 120 bytes',
    run: (operations) => each(operations, (i) => stateDigest(keys[i]!, records[i]!)),
  },
  {
    name: 'root and digest of a trie',
    run(operations) {
      const trie = new MerkleTrie()
      for (let i = 0; i < KEYS; i++) trie.add(keyHashes[i]!, i, i)
      let sum = 0
      for (let i = 0; i < operations; i++) sum += trie.digest().length
      return sum
    },
  },
  { name: 'FNV-1a of a key', run: (operations) => each(operations, (i) => fnv1a(keys[i]!)) },
  { name: 'measure a value', run: (operations) => each(operations, (i) => measureValue(records[i]!.value) as number) },
  {
    name: 'copy a value',
    run: (operations) => each(operations, (i) => ('value' in copyValue(records[i]!.value) ? 1 : 0)),
  },
  {
    name: 'canonical bytes of a value',
    run: (operations) => each(operations, (i) => canonicalBytes(records[i]!.value).length),
  },
  {
    name: 'query: two conditions',
    run: (operations) => each(operations, (i) => (matcher.value(records[i]!.value) ? 1 : 0)),
  },
  { name: 'query: like', run: (operations) => each(operations, (i) => (liker.value(records[i]!.value) ? 1 : 0)) },
  {
    name: 'query: compare two rows by two fields',
    run: (operations) => each(operations, (i) => order(keys[i]!, records[i]!.value, keys[i]!, newer[i]!.value)),
  },
]

/** Median operations per second of seven runs of at least 150 ms each, after as long a warm-up. */
function measure({ run }: Work): number {
  let operations = 1_000
  const secondsOf = (count: number): number => {
    const start = performance.now()
    checksum += run(count)
    return (performance.now() - start) / 1_000
  }
  while (secondsOf(operations) < 0.15) operations *= 2
  const rates = Array.from({ length: 7 }, () => operations / secondsOf(operations))
  return rates.sort((a, b) => a - b)[3]!
}

let checksum = 0
const baselinesFile = new URL('baselines.json', import.meta.url)
const baselines = JSON.parse(readFileSync(baselinesFile, 'utf8')) as Record<string, number>
const only = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const measured: Record<string, number> = {}
let missed = 0
const millions = (rate: number | undefined): string => (rate === undefined ? '–' : (rate / 1e6).toFixed(3)).padStart(10)

console.log(`${'million per second'.padEnd(76)}       now       goal   baseline`)
for (const each of work) {
  if (only.length > 0 && !only.some((part) => each.name.includes(part))) continue
  const rate = measure(each)
  measured[each.name] = Math.round(rate)
  const isMissed = each.goal !== undefined && rate < each.goal
  if (isMissed) missed++
  console.log(
    `${each.name.padEnd(76)}${millions(rate)} ${millions(each.goal)} ${millions(baselines[each.name])}${isMissed ? '  MISSED' : ''}`,
  )
}
if (process.argv.includes('--update'))
  writeFileSync(baselinesFile, `${JSON.stringify({ ...baselines, ...measured }, null, 2)}\n`)
if (Number.isNaN(checksum)) throw new Error('a benchmark computed nothing')
process.exitCode = missed > 0 && process.argv.includes('--strict') ? 1 : 0
