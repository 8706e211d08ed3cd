import {
  HybridClock,
  LwwMap,
  compileOrder,
  compileQuery,
  mergeRecords,
  normalizeRecord,
  recordsEqual,
  type LwwRecord,
  type QuerySpec,
  type Stamp,
  type Value,
} from '@syncline/core'
import { MerkleTrie, childrenBelowLeaf, fnv1a, formatDigest, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { NodeDigest } from '@syncline/core/merkle'
import { readClientMessage } from '../src/read/client-message.ts'
import { isRefusedOp } from '../src/read/op.ts'
import { toWireRecord } from '../src/read/wire-record.ts'
import type { OpRecord, WireRecord } from '../src/messages/maps.ts'

// What this code makes of the cases of vectors.

/** A clock, from its latest stamp on: at each wall time it issues a stamp, or observes one of another node. */
export interface ClockSequence {
  readonly name: string
  readonly rules: string
  /** Null: the clock has issued nothing yet. */
  readonly latest: { readonly millis: number; readonly counter: number } | null
  readonly steps: readonly {
    readonly wall: number
    readonly observe?: { readonly millis: number; readonly counter: number }
  }[]
}

/** The latest stamp of the clock after each step. */
export function clockSteps({ latest, steps }: ClockSequence): readonly object[] {
  const clock = new HybridClock('n', latest === null ? undefined : { ...latest, nodeId: 'n' })
  let millis = latest?.millis ?? 0
  let counter = latest?.counter ?? -1
  return steps.map((step) => {
    if (step.observe === undefined) {
      const issued = clock.tick(step.wall)
      ;[millis, counter] = [issued.millis, issued.counter]
    } else {
      clock.observe({ ...step.observe, nodeId: 'other' }, step.wall)
      // A clock shows its counter only by issuing: a second clock of the same state is asked.
      const probe = new HybridClock('n', { millis, counter, nodeId: 'n' })
      probe.observe({ ...step.observe, nodeId: 'other' }, step.wall)
      const next = probe.tick(0)
      ;[millis, counter] = next.counter === 0 ? [next.millis - 1, 65_535] : [next.millis, next.counter - 1]
    }
    return { ...step, latest: { millis, counter } }
  })
}

/** The merge of two records, in either order. */
export function mergedBothWays(a: WireRecord, b: WireRecord): LwwRecord {
  const [x, y] = [normalizeRecord(a), normalizeRecord(b)]
  const merged = mergeRecords(x, y)
  if (!recordsEqual(merged, mergeRecords(y, x))) throw new Error('The merge does not commute.')
  return merged
}

/** A write of one key. */
export interface KeyWrite extends OpRecord {
  readonly opType: 'PUT' | 'REMOVE' | 'PATCH'
}

/** The record that writes leave, in the order given; null where there is none. */
export function writtenIn(ops: readonly KeyWrite[]): { readonly record: WireRecord | null } {
  const map = new LwwMap()
  for (const { opType, value, timestamp, ttlMs, unset } of ops) {
    if (opType === 'PATCH') {
      map.patch('k', {
        stamp: timestamp,
        set: (value ?? {}) as Record<string, Value>,
        ...(unset === undefined ? {} : { unset }),
      })
    } else map.put('k', opType === 'REMOVE' ? null : value, timestamp, ttlMs)
  }
  const record = map.record('k')
  return { record: record === undefined ? null : toWireRecord(record) }
}

/** A record in a trie. */
export interface TrieRecord {
  readonly key: string
  readonly record: WireRecord
}

/** Both lanes of a trie and of the nodes above its records, the two below a leaf included. */
export function trieOf(records: readonly TrieRecord[]): object {
  const trie = new MerkleTrie()
  const entries = records.map(({ key, record }) => {
    const normal = normalizeRecord(record)
    const keyHash = fnv1a(key)
    return { keyHash, stamps: stampDigest(keyHash, normal.timestamp), state: stateDigest(key, normal) }
  })
  for (const { keyHash, stamps, state } of entries) trie.add(keyHash, stamps, state)
  const paths = new Set<string>()
  for (const { keyHash } of entries.slice(0, 3)) {
    const path = keyHash.toString(16).padStart(8, '0')
    for (let depth = 0; depth < 5; depth++) paths.add(path.slice(0, depth))
  }
  const nodes = [...paths].toSorted().map((path) => ({
    path,
    ...lanes(path.length < 3 ? trie.children(path) : childrenBelowLeaf(path, entries)),
  }))
  return { rootHash: trie.rootHash(), digest: trie.digest(), nodes }
}

function lanes(children: Readonly<Record<string, NodeDigest>>): object {
  const entries = Object.entries(children)
  return {
    buckets: Object.fromEntries(entries.map(([digit, { stamps }]) => [digit, stamps])),
    digests: Object.fromEntries(entries.map(([digit, { stamps, state }]) => [digit, formatDigest(stamps, state)])),
  }
}

/** Says whether a value belongs to a query's result, or by which code the query is refused. */
export function matches(query: QuerySpec, value: Value): boolean | string {
  const compiled = compileQuery(query)
  return compiled.ok ? compiled.value(value) : compiled.error.code
}

/** The keys of rows in the order of a query. */
export function sortedKeys(
  sort: QuerySpec['sort'],
  rows: readonly { readonly key: string; readonly value: Value }[],
): readonly string[] {
  const order = compileOrder(sort)
  return rows.toSorted((a, b) => order(a.key, a.value, b.key, b.value)).map(({ key }) => key)
}

/** The code by which a message, or the op in it, is refused, and the member that is named. */
export function refusalOf(message: unknown): { readonly errorCode: string | null; readonly path?: unknown } {
  const result = readClientMessage(message)
  const inPlace =
    result.ok && result.value.type === 'CLIENT_OP' && isRefusedOp(result.value.payload)
      ? result.value.payload.refused
      : undefined
  const { errorCode, details } = result.ok ? (inPlace ?? { errorCode: null, details: undefined }) : result.error
  return { errorCode, ...(details === undefined ? {} : { path: details['path'] }) }
}

/** A stamp in the form `millis:counter:nodeId`, for cases. */
export const at = (millis: number, counter = 0, nodeId = 'a'): Stamp => ({ millis, counter, nodeId })
