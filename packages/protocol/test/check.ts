import { readFileSync } from 'node:fs'
import {
  compareForOrder,
  compareCanonical,
  compareStamps,
  clockOffset,
  compileQuery,
  formatStamp,
  isAheadOfClock,
  isExpired,
  mergeItems,
  mergeRecords,
  normalizeRecord,
  parseItemKey,
  parseStamp,
  partitionOf,
  valuesEqual,
  visibleValue,
  type Value,
} from '@syncline/core'
import { canonicalBytes, canonicalRecord, fmix32, fnv1a, murmur3 } from '@syncline/core/merkle'
import { queryTerms, searchTerms } from '@syncline/core/search'
import { joinBatch } from '../src/codec/batch.ts'
import { decodeFrame } from '../src/codec/frame.ts'
import { decodeValueJson, encodeValueJson } from '../src/codec/json.ts'
import { decodeValueMsgpack, encodeValueMsgpack } from '../src/codec/msgpack.ts'
import { toWireRecord } from '../src/read/wire-record.ts'
import { countedIn, shownAfter } from './cases/kinds.ts'
import { scoresOf } from './cases/search.ts'
import { clockSteps, refusalOf, sortedKeys, trieOf, writtenIn, type ClockSequence, type KeyWrite } from './compute.ts'

// Checks an implementation against the files of vectors, as one in another language does: from what the files say alone.

/** What of an implementation the vectors look at. Tests replace parts of ours by broken ones. */
export const ours = {
  decodeJson: (text: string): unknown => must(decodeValueJson(text)),
  decodeMsgpack: (bytes: Uint8Array): unknown => must(decodeValueMsgpack(bytes)),
  encodeMsgpack: (value: Value): Uint8Array => encodeValueMsgpack(value),
  encodeJson: (value: Value): string => encodeValueJson(value),
  refusalOfFrame: (frame: string | Uint8Array): string | undefined => {
    const decoded = decodeFrame(frame)
    return decoded.ok ? undefined : decoded.error.errorCode
  },
  refusalOf,
  canonicalBytes,
  canonicalRecord,
  compareCanonical,
  compareForOrder,
  parseStamp,
  formatStamp,
  compareStamps,
  clockSteps,
  isAhead: isAheadOfClock,
  normalizeRecord,
  mergeRecords,
  writtenIn,
  isExpired,
  fnv1a,
  fmix32,
  murmur3,
  partitionOf,
  trieOf,
  matches: (query: Parameters<typeof compileQuery>[0], value: Value): boolean | string => {
    const compiled = compileQuery(query)
    return compiled.ok ? compiled.value(value) : compiled.error.code
  },
  sortedKeys,
  parseItemKey,
  mergeItems,
  shownAfter,
  countedIn,
  termsOf: (text: string, isUnfinished: boolean): unknown =>
    isUnfinished ? queryTerms(text, true) : searchTerms(text),
  scoresOf,
  clockOffset,
  joinBatch,
}

/** An implementation of the rules. */
export type Implementation = typeof ours

/** A case as it comes out of a file: a member is of whatever type its check takes it for. */
type Case = Readonly<
  Record<
    | 'a'
    | 'ascending'
    | 'terms'
    | 'shows'
    | 'serverTime'
    | 'sentAt'
    | 'scores'
    | 'prefix'
    | 'offset'
    | 'item'
    | 'frames'
    | 'fields'
    | 'documents'
    | 'boost'
    | 'answeredAt'
    | 'b'
    | 'bytes'
    | 'canonical'
    | 'digest'
    | 'errorCode'
    | 'fmix32'
    | 'hash'
    | 'input'
    | 'isAhead'
    | 'isExpired'
    | 'isVisible'
    | 'json'
    | 'key'
    | 'keys'
    | 'matches'
    | 'maxDriftMs'
    | 'means'
    | 'merged'
    | 'millis'
    | 'msgpack'
    | 'murmur3'
    | 'name'
    | 'nodes'
    | 'now'
    | 'ops'
    | 'partition'
    | 'path'
    | 'predicate'
    | 'query'
    | 'received'
    | 'record'
    | 'records'
    | 'rootHash'
    | 'rows'
    | 'rules'
    | 'sent'
    | 'sort'
    | 'stamp'
    | 'steps'
    | 'text'
    | 'value'
    | 'wall'
    | 'where',
    never
  >
>

/** The cases of one file, read with whatever reads JSON. */
export function stored(name: string): readonly Case[] {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as readonly Case[]
}

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')
const untagged = (value: unknown): never => must(decodeValueJson(JSON.stringify(value))) as never
const same = (a: unknown, b: unknown): boolean => valuesEqual(a as Value, b as Value)

/** How each file is checked: whether one case holds. */
const checks: Readonly<Record<string, (code: Implementation, vector: Case) => boolean>> = {
  values: (code, { json, msgpack, canonical }) =>
    same(code.decodeJson(json), code.decodeMsgpack(bytes(msgpack))) &&
    code.encodeJson(code.decodeMsgpack(bytes(msgpack)) as Value) === json &&
    hex(code.encodeMsgpack(code.decodeJson(json) as Value)) === msgpack &&
    hex(code.canonicalBytes(code.decodeJson(json) as Value)) === canonical,
  'other-forms': (code, { json, msgpack, means }) =>
    Object.is(
      JSON.stringify((json as unknown) === undefined ? code.decodeMsgpack(bytes(msgpack)) : code.decodeJson(json)),
      JSON.stringify(code.decodeJson(means)),
    ) && !hasMinusZero((json as unknown) === undefined ? code.decodeMsgpack(bytes(msgpack)) : code.decodeJson(json)),
  'refused-frames': (code, { json, msgpack, errorCode }) =>
    code.refusalOfFrame((json as unknown) === undefined ? bytes(msgpack) : json) === errorCode,
  orders: (code, { rules, ascending }) => {
    const compare = rules === 'CV4' ? code.compareCanonical : code.compareForOrder
    const list = untagged(ascending) as readonly Value[]
    return list.every((value, i) => list.every((other, j) => Math.sign(compare(value, other)) === Math.sign(i - j)))
  },
  stamps: (code, { text, stamp }) =>
    same(code.parseStamp(text) ?? null, stamp) && ((stamp as unknown) === null || code.formatStamp(stamp) === text),
  'stamp-order': (code, { ascending }) =>
    (ascending as never[]).every((a, i) =>
      (ascending as never[]).every((b, j) => Math.sign(code.compareStamps(a, b)) === Math.sign(i - j)),
    ),
  clocks: (code, vector) => same(code.clockSteps(vector as unknown as ClockSequence), vector['steps']),
  drift: (code, { millis, wall, maxDriftMs, isAhead }) =>
    code.isAhead({ millis, counter: 0, nodeId: '' }, wall, maxDriftMs) === isAhead,
  records: (code, { key, received, sent, canonical }) => {
    const record = code.normalizeRecord(untagged(received))
    return same(toWireRecord(record), untagged(sent)) && hex(code.canonicalRecord(key, record)) === canonical
  },
  merges: (code, { a, b, merged }) => {
    const [x, y] = [code.normalizeRecord(untagged(a)), code.normalizeRecord(untagged(b))]
    const expected = untagged(merged)
    return (
      same(toWireRecord(code.mergeRecords(x, y)), expected) && same(toWireRecord(code.mergeRecords(y, x)), expected)
    )
  },
  writes: (code, { ops, record }) =>
    same(code.writtenIn(untagged(ops) as readonly KeyWrite[]).record, untagged(record)),
  visibility: (code, { record, now, isVisible, isExpired: expired }) => {
    const normal = code.normalizeRecord(record)
    return (visibleValue(normal, now) !== undefined) === isVisible && code.isExpired(normal, now) === expired
  },
  hashes: (code, { text, hash, path, partition }) =>
    code.fnv1a(text) === hash &&
    code.fnv1a(text).toString(16).padStart(8, '0') === path &&
    code.partitionOf(text) === partition,
  mixes: (code, vector) =>
    (vector['bytes'] as unknown) === undefined
      ? code.fmix32(vector['input']) === vector['fmix32']
      : code.murmur3(bytes(vector['bytes'])) === vector['murmur3'],
  tries: (code, { records, rootHash, digest, nodes }) =>
    same(code.trieOf(untagged(records)), { rootHash, digest, nodes }),
  where: (code, { where, value, matches }) => code.matches({ where: untagged(where) }, untagged(value)) === matches,
  predicates: (code, { predicate, value, matches }) =>
    code.matches({ predicate: untagged(predicate) }, untagged(value)) === matches,
  'refused-queries': (code, { query, errorCode }) => code.matches(untagged(query), {}) === errorCode,
  'clock-offsets': (code, { sentAt, answeredAt, serverTime, offset }) =>
    code.clockOffset(sentAt, answeredAt, serverTime) === offset,
  batches: (code, { frames, msgpack }) => hex(code.joinBatch((frames as string[]).map(bytes))) === msgpack,
  'item-keys': (code, { text, item }) => same(code.parseItemKey(text) ?? null, item),
  'item-merges': (code, { a, b, merged }) => {
    const [x, y] = [code.normalizeRecord(untagged(a)), code.normalizeRecord(untagged(b))]
    return [code.mergeItems(x, y), code.mergeItems(y, x)].every((each) => same(toWireRecord(each), untagged(merged)))
  },
  'or-maps': (code, { ops, now, shows, digest }) => same(code.shownAfter(untagged(ops), now), { shows, digest }),
  counters: (code, { rows, merged, value }) => same(code.countedIn(rows), { merged, value }),
  terms: (code, { rules, text, terms }) => same(code.termsOf(text, rules === 'SR3'), terms),
  searches: (code, { documents, query, fields, boost, prefix, scores }) => {
    const found = code.scoresOf(documents, query, fields, boost ?? undefined, prefix)
    const expected = scores as Readonly<Record<string, number>>
    return (
      same(Object.keys(found).toSorted(), Object.keys(expected).toSorted()) &&
      Object.entries(expected).every(([key, score]) => Math.abs((found[key] ?? 0) - score) < 1e-12)
    )
  },
  sorts: (code, { sort, rows, keys }) => same(code.sortedKeys(sort, untagged(rows)), keys),
}

/** The files that have a check. */
export const checkedFiles: readonly string[] = Object.keys(checks)

/** The cases of a file in which an implementation does something else than they say. */
export function failuresIn(file: string, code: Implementation = ours): readonly Case[] {
  return stored(file).filter((vector) => {
    try {
      return checks[file]?.(code, vector) !== true
    } catch {
      return true
    }
  })
}

function hasMinusZero(value: unknown): boolean {
  return Array.isArray(value) ? value.some(hasMinusZero) : Object.is(value, -0)
}

function must<T>(
  result:
    | { readonly ok: true; readonly value: T }
    | { readonly ok: false; readonly error: { readonly message: string } },
): T {
  if (!result.ok) throw new Error(result.error.message)
  return result.value
}
