import { normalizeRecord, type Value } from '@syncline/core'
import { STOP_WORDS } from '@syncline/core/search'
import { canonicalBytes, canonicalRecord, formatDigest, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { decodeFrame } from '../src/codec/frame.ts'
import { decodeValueJson, encodeValueJson } from '../src/codec/json.ts'
import { decodeValueMsgpack, encodeValueMsgpack } from '../src/codec/msgpack.ts'
import { joinBatch } from '../src/codec/batch.ts'
import { clientMessageTypes, readClientMessage } from '../src/read/client-message.ts'
import { readHttpSync } from '../src/read/http-sync.ts'
import { toWireRecord } from '../src/read/wire-record.ts'
import { clocks, drift, offsets, stampTexts, stampsInOrder } from './cases/clocks.ts'
import { batchFrames, orders, otherForms, refusedFrames, values } from './cases/values.ts'
import { merges, records, visibility, writes } from './cases/records.ts'
import { counters, itemKeys, itemMerges, orMaps } from './cases/kinds.ts'
import { scores, searches, terms, typedTerms } from './cases/search.ts'
import { mixes, murmurs, texts, tries } from './cases/hashes.ts'
import { exchanges, refusedBodies } from './cases/http.ts'
import { predicates, refusedQueries, sorts, wheres } from './cases/queries.ts'
import { clockSteps, matches, mergedBothWays, refusalOf, sortedKeys, trieOf, writtenIn } from './compute.ts'
import { messageCases } from './messages/list.ts'
import { closeCodes, errorTable, limitTable } from './tables.ts'

/** A file of vectors: its path in `vectors/` without `.json`, and the cases. */
export interface VectorFile {
  readonly name: string
  readonly vectors: readonly { readonly rules: string }[]
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const tagged = (value: unknown): unknown => JSON.parse(encodeValueJson(value as Value))
const inBoth = (value: unknown): { readonly json: string; readonly msgpack: string } => ({
  json: encodeValueJson(value as Value),
  msgpack: hex(encodeValueMsgpack(value as Value)),
})

/** Everything that vectors/ holds, computed anew. */
export function buildVectors(): readonly VectorFile[] {
  const files = [
    ...messageFiles(),
    ...httpFiles(),
    ...frameFiles(),
    ...clockFiles(),
    ...recordFiles(),
    ...kindFiles(),
    ...hashFiles(),
    ...queryFiles(),
    ...tables(),
  ]
  return [...files, { name: 'index', vectors: files.map(({ name }) => ({ rules: 'VE3', name })) }]
}

function messageFiles(): readonly VectorFile[] {
  return Object.entries(messageCases).flatMap(([feature, { messages, accepted = [], refused = [] }]) =>
    [
      {
        name: `messages/${feature}`,
        vectors: messages.map(([rules, message]) => ({ name: message.type, rules, ...inBoth(message) })),
      },
      {
        name: `accepted-messages/${feature}`,
        vectors: [
          ...messages.flatMap(([rules, message]) => {
            const other = inOtherShape(message)
            return other === undefined ? [] : [acceptedVector(...other, `FR12 ${rules}`, message)]
          }),
          ...accepted.map(([name, rules, message, means]) => acceptedVector(name, message, rules, means)),
        ],
      },
      {
        name: `refused-messages/${feature}`,
        vectors: refused.map(([name, rules, message]) => ({
          name,
          rules,
          ...writable(message),
          ...refusalOf(message),
        })),
      },
    ].filter(({ vectors }) => vectors.length > 0),
  )
}

function httpFiles(): readonly VectorFile[] {
  return [
    {
      name: 'http-exchanges',
      vectors: exchanges.map(([name, rules, request, response]) => ({
        name,
        rules,
        request: inBoth(request),
        status: 200,
        response: inBoth(response),
      })),
    },
    {
      name: 'refused-http-bodies',
      vectors: refusedBodies.map(([name, rules, body]) => {
        const read = readHttpSync(body)
        const { errorCode, details } = read.ok ? { errorCode: null, details: undefined } : read.error
        const path = details?.['path'] as string | undefined
        return { name, rules, ...writable(body), errorCode, ...(path === undefined ? {} : { path }) }
      }),
    },
  ]
}

/** A client's message with its fields on the other side: beside `type`, or in `payload`. */
function inOtherShape(message: object): readonly [name: string, other: object] | undefined {
  const { type, payload, requestId, ...flat } = message as Record<string, unknown>
  if (!clientMessageTypes().includes(type as string)) return undefined
  const envelope = { type, ...(requestId === undefined ? {} : { requestId }) }
  return payload === undefined
    ? [`${type as string} in a payload`, { ...envelope, payload: flat }]
    : [`${type as string} without a payload`, { ...(payload as object), ...envelope }]
}

function acceptedVector(name: string, message: unknown, rules: string, expected: unknown): { readonly rules: string } {
  const read = readClientMessage(message)
  if (!read.ok || 'refused' in ((read.value as { payload?: object }).payload ?? {}))
    throw new Error(`${name} is refused.`)
  const means = expected ?? read.value
  return { name, rules, ...inBoth(message), means: encodeValueJson(means as unknown as Value) } as { rules: string }
}

/** Above this a frame is given in JSON alone: it shows a limit, which has nothing to do with the encoding. */
const MAX_FRAME_TO_REPEAT = 4_096

/** The frames of a message: not in MessagePack where that could not carry it. */
function writable(message: unknown): { readonly json: string; readonly msgpack?: string } {
  const both = inBoth(message)
  const decoded = decodeFrame(Buffer.from(both.msgpack, 'hex'))
  if (both.json.length > MAX_FRAME_TO_REPEAT) return { json: both.json }
  return decoded.ok && encodeValueJson(decoded.value.message as Value) === both.json ? both : { json: both.json }
}

function frameFiles(): readonly VectorFile[] {
  return [
    {
      name: 'values',
      vectors: values.map(([name, rules, value]) => ({
        name,
        rules,
        ...inBoth(value),
        canonical: hex(canonicalBytes(value)),
      })),
    },
    {
      name: 'other-forms',
      vectors: otherForms.map(([name, rules, form]) => {
        const [json, msgpack] = typeof form === 'string' ? [form] : [undefined, hex(bytesOf(form))]
        const means = encodeValueJson(fromVector(json === undefined ? { msgpack } : { json }) as Value)
        return { name, rules, ...(json === undefined ? { msgpack } : { json }), means }
      }),
    },
    {
      name: 'orders',
      vectors: orders.map(([name, rules, ascending]) => ({ name, rules, ascending: tagged(ascending) })),
    },
    {
      name: 'batches',
      vectors: batchFrames.map(([name, frames]) => ({
        name,
        rules: 'FR16',
        frames,
        msgpack: hex(joinBatch(frames.map((frame) => new Uint8Array(Buffer.from(frame, 'hex'))))),
      })),
    },
    {
      name: 'refused-frames',
      vectors: refusedFrames.map(([name, rules, frame]) => {
        const bytes = typeof frame === 'string' ? frame : bytesOf(frame)
        const decoded = decodeFrame(bytes)
        return {
          name,
          rules,
          ...(typeof bytes === 'string' ? { json: bytes } : { msgpack: hex(bytes) }),
          errorCode: decoded.ok ? null : decoded.error.errorCode,
        }
      }),
    },
  ]
}

const bytesOf = (parts: readonly (number | string)[]): Buffer =>
  Buffer.concat(parts.map((part) => Buffer.from(typeof part === 'string' ? part : [part])))

function clockFiles(): readonly VectorFile[] {
  return [
    { name: 'stamps', vectors: stampTexts },
    { name: 'stamp-order', vectors: stampsInOrder },
    { name: 'clocks', vectors: clocks.map((sequence) => ({ ...sequence, steps: clockSteps(sequence) })) },
    { name: 'drift', vectors: drift },
    { name: 'clock-offsets', vectors: offsets },
  ]
}

function recordFiles(): readonly VectorFile[] {
  return [
    {
      name: 'records',
      vectors: records.map(([name, rules, key, wire]) => {
        const record = normalizeRecord(wire)
        return {
          name,
          rules,
          key,
          received: tagged(wire),
          sent: tagged(toWireRecord(record)),
          canonical: hex(canonicalRecord(key, record)),
          digest: formatDigest(stampDigest(fnv1a(key), record.timestamp), stateDigest(key, record)),
        }
      }),
    },
    {
      name: 'merges',
      vectors: merges.map(([name, rules, a, b]) => ({
        name,
        rules,
        a: tagged(a),
        b: tagged(b),
        merged: tagged(toWireRecord(mergedBothWays(a, b))),
      })),
    },
    {
      name: 'writes',
      vectors: writes.map(([name, rules, ops]) => ({
        name,
        rules,
        ops: tagged(ops),
        ...(tagged(writtenIn(ops)) as object),
      })),
    },
    { name: 'visibility', vectors: visibility },
  ]
}

function hashFiles(): readonly VectorFile[] {
  return [
    { name: 'hashes', vectors: texts },
    { name: 'mixes', vectors: [...mixes, ...murmurs] },
    {
      name: 'tries',
      vectors: tries.map(([name, rules, entries]) => ({ name, rules, records: tagged(entries), ...trieOf(entries) })),
    },
  ]
}

function kindFiles(): readonly VectorFile[] {
  return [
    { name: 'item-keys', vectors: itemKeys },
    { name: 'item-merges', vectors: itemMerges },
    { name: 'or-maps', vectors: orMaps },
    { name: 'counters', vectors: counters },
    { name: 'terms', vectors: [...terms, ...typedTerms] },
    { name: 'scores', vectors: scores },
    { name: 'searches', vectors: searches },
    { name: 'stop-words', vectors: [stopWords] },
  ]
}

const stopWords = { rules: 'SR1', words: [...STOP_WORDS].toSorted() }

function queryFiles(): readonly VectorFile[] {
  return [
    {
      name: 'where',
      vectors: wheres.map(([rules, where, value]) => ({
        rules,
        where: tagged(where),
        value: tagged(value),
        matches: matches({ where }, value),
      })),
    },
    {
      name: 'predicates',
      vectors: predicates.map(([rules, predicate, value]) => ({
        rules,
        predicate: tagged(predicate),
        value: tagged(value),
        matches: matches({ predicate }, value),
      })),
    },
    {
      name: 'refused-queries',
      vectors: refusedQueries.map(([name, rules, query]) => ({
        name,
        rules,
        query: tagged(query),
        errorCode: matches(query, {}),
      })),
    },
    {
      name: 'sorts',
      vectors: sorts.map(([name, rules, sort, rows]) => ({
        name,
        rules,
        sort,
        rows: tagged(rows),
        keys: sortedKeys(sort, rows),
      })),
    },
  ]
}

function tables(): readonly VectorFile[] {
  return [
    { name: 'errors', vectors: errorTable() },
    { name: 'close-codes', vectors: closeCodes() },
    { name: 'limits', vectors: limitTable() },
  ]
}

/** The text of a file of vectors: one case a line, so that a change is seen case by case. */
export function vectorText({ vectors }: VectorFile): string {
  return `[\n${vectors.map((vector) => `  ${JSON.stringify(vector)}`).join(',\n')}\n]\n`
}

/** Reads a value back from the form that vectors have it in. */
export function fromVector(form: { readonly json?: string; readonly msgpack?: string }): unknown {
  const decoded =
    form.json === undefined
      ? decodeValueMsgpack(Buffer.from(form.msgpack as string, 'hex'))
      : decodeValueJson(form.json)
  if (!decoded.ok) throw new Error(decoded.error.message)
  return decoded.value
}
