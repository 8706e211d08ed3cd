import { readFileSync, readdirSync } from 'node:fs'
import { fnv1a } from '@syncline/core/merkle'
import { describe, expect, it } from 'vitest'
import { decodeFrame } from '../src/codec/frame.ts'
import { clientMessageSchemas, httpBodySchemas, serverMessageSchemas } from '../src/message.schema.ts'
import { clientMessageTypes, readClientMessage } from '../src/read/client-message.ts'
import { readHttpSync } from '../src/read/http-sync.ts'
import { readItemEvent, readServerMessage } from '../src/read/server-message.ts'
import { checkedFiles, failuresIn, ours, stored, type Implementation } from './check.ts'
import { messageCases } from './messages/list.ts'
import { buildVectors, vectorText } from './vectors.ts'

interface MessageVector {
  readonly name: string
  readonly rules: string
  readonly json: string
  readonly msgpack?: string
  readonly means?: string
  readonly errorCode?: string | null
}

const folder = new URL('../vectors/', import.meta.url)
const files = buildVectors()
const featuresOf = (kind: string): readonly string[] =>
  Object.keys(messageCases).filter((feature) => files.some(({ name }) => name === `${kind}/${feature}`))
const storedMessages = (kind: string): readonly MessageVector[] =>
  featuresOf(kind).flatMap((feature) => stored(`${kind}/${feature}`) as unknown as readonly MessageVector[])
const decoded = (frame: string | Uint8Array): unknown => {
  const result = decodeFrame(frame)
  if (!result.ok) throw new Error(result.error.message)
  return result.value.message
}
const schemas = { ...clientMessageSchemas, ...serverMessageSchemas } as unknown as Record<
  string,
  { parse(message: unknown): unknown }
>

describe('golden vectors', () => {
  it.each(files)('[VE3] $name.json is what this code computes; `pnpm generate` writes it anew', (file) => {
    expect(vectorText(file)).toBe(readFileSync(new URL(`${file.name}.json`, folder), 'utf8'))
  })

  it('[VE3] there are no other files, and at least 600 vectors', () => {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'))
    expect(names.toSorted()).toEqual(files.map(({ name }) => `${name}.json`).toSorted())
    expect(files.flatMap(({ vectors }) => vectors).length).toBeGreaterThan(600)
  })

  it.each(storedMessages('messages'))(
    '[FR12] [FR15] $name is read from both encodings and loses no member',
    ({ name, json, msgpack }) => {
      const message = decoded(json)
      expect(decoded(Buffer.from(msgpack as string, 'hex'))).toEqual(message)
      expect(schemas[name]?.parse(message)).toEqual(message)
      const isItemEvent = json.includes('"eventType":"OR_')
      const readOfServer = isItemEvent ? readItemEvent(message) : readServerMessage(message)
      const read = name in clientMessageSchemas ? readClientMessage(message) : readOfServer
      expect(read).toMatchObject({ ok: true, value: { type: name } })
      expect(JSON.stringify(read)).not.toContain('"refused":{')
    },
  )

  it.each(storedMessages('accepted-messages'))('[FR12] $name is accepted', ({ json, msgpack, means }) => {
    const expected = readClientMessage(decoded(means as string))
    expect(expected.ok).toBe(true)
    // What stands beside `type` leaves unknown members behind, which mean nothing.
    expect(readClientMessage(decoded(json))).toMatchObject(expected)
    expect(readClientMessage(decoded(Buffer.from(msgpack as string, 'hex')))).toMatchObject(expected)
  })

  it.each(storedMessages('refused-messages'))('[$rules] $name is refused', ({ json, msgpack, errorCode }) => {
    expect(errorCode).toMatch(/^[A-Z_]+$/)
    for (const frame of msgpack === undefined ? [json] : [json, Buffer.from(msgpack, 'hex')]) {
      expect(ours.refusalOf(decoded(frame)).errorCode).toBe(errorCode)
    }
  })

  const exchanges = stored('http-exchanges') as unknown as readonly Record<'request' | 'response', MessageVector>[]
  it.each(exchanges)('[HS1] [HS2] $name: request and reply are read from both encodings', ({ request, response }) => {
    const sent = decoded(request.json)
    expect(decoded(Buffer.from(request.msgpack as string, 'hex'))).toEqual(sent)
    expect(httpBodySchemas.HttpSyncRequest.safeParse(sent).success).toBe(!request.json.includes('"now"'))
    expect(readHttpSync(sent).ok).toBe(true)
    const reply = decoded(response.json)
    expect(decoded(Buffer.from(response.msgpack as string, 'hex'))).toEqual(reply)
    expect(httpBodySchemas.HttpSyncResponse.parse(reply)).toEqual(reply)
  })

  it.each(stored('refused-http-bodies') as unknown as readonly MessageVector[])(
    '[$rules] a body with $name is refused',
    ({ json, errorCode }) => {
      expect(errorCode).toMatch(/^[A-Z_]+$/)
      expect(readHttpSync(decoded(json))).toMatchObject({ ok: false, error: { errorCode } })
    },
  )

  it('[VE3] every type of message has a vector', () => {
    const types = new Set(storedMessages('messages').map(({ name }) => name))
    expect([...types].toSorted()).toEqual(Object.keys(schemas).toSorted())
    expect(Object.keys(clientMessageSchemas).toSorted()).toEqual(clientMessageTypes().toSorted())
  })

  it.each(checkedFiles)('[VE3] this implementation does what %s.json says', (file) => {
    expect(failuresIn(file)).toEqual([])
  })

  it('[VE4] the rules that vectors name are in a SPEC.md, those of their own rules among them', () => {
    const specs = ['../SPEC.md', '../../core/SPEC.md'].map((path) =>
      readFileSync(new URL(path, import.meta.url), 'utf8'),
    )
    const rules = new Set(files.flatMap(({ vectors }) => vectors.flatMap(({ rules }) => rules.split(' '))))
    expect([...rules].filter((rule) => !specs.some((spec) => spec.includes(`**[${rule}]**`)))).toEqual([])
  })

  it('[ER1] [CL1] [LI1] codes, close codes and limits are tables that any language reads', () => {
    expect(stored('errors')).toContainEqual({ rules: 'ER1', errorCode: 'CLOCK_SKEW', status: 409, retryable: true })
    expect(stored('close-codes')).toContainEqual({ rules: 'CL1', name: 'UNAUTHORIZED', code: 4001 })
    expect(stored('limits')).toContainEqual({ rules: 'LI1', name: 'keyBytes', max: 512 })
  })

  it('[VE3] a file is JSON for every language: no half surrogate pairs, and whole numbers within 2^53 − 1', () => {
    for (const file of files) {
      const text = vectorText(file)
      expect(text.replaceAll('\\\\', '')).not.toMatch(/\\ud[89a-f]/)
      expect(/[:[,](-?\d{16,})/.exec(text)?.[1] ?? '0').toSatisfy((number: string) =>
        Number.isSafeInteger(Number(number)),
      )
    }
  })
})

describe('[MK2] [MK3] [PT1] what existing clients compute', () => {
  const hashes: readonly (readonly [string, number, number])[] = [
    ['', 2166136261, 199],
    ['a', 3826002220, 101],
    ['hello', 1335831723, 95],
    ['u1', 71477235, 172],
    ['user:1', 1830439627, 208],
    ['t1', 138734806, 150],
    ['t2', 121957187, 141],
    ['ключ', 866290361, 108],
    ['😀', 3409036472, 102],
  ]
  it.each(hashes)('[MK1] [PT1] %j has the hash %i and the partition %i', (text, hash, partition) => {
    expect(stored('hashes').find((vector) => vector['text'] === text)).toMatchObject({ hash, partition })
  })

  const roots: readonly (readonly [string, number])[] = [
    ['nothing', 0],
    ['one record', 627195050],
    ['two records', 3333465492],
    ['three records of one branch', 2241810790],
    ['keys beyond ASCII', 1797215653],
    ['a hundred records', 499161845],
  ]
  it.each(roots)('[MK2] the root of %s is %i', (name, rootHash) => {
    expect(stored('tries').find((vector) => vector['name'] === name)).toMatchObject({ rootHash })
  })
})

describe('[VE3] a broken implementation fails', () => {
  const mutants: readonly (readonly [name: string, file: string, broken: Partial<Implementation>])[] = [
    ['hashes UTF-8 bytes', 'hashes', { fnv1a: (text) => fnv1a(Buffer.from(text).toString('latin1')) }],
    ['leaves a hash signed', 'hashes', { fnv1a: (text) => fnv1a(text) | 0 }],
    ['orders node ids by language', 'stamp-order', { compareStamps: (a, b) => a.nodeId.localeCompare(b.nodeId) }],
    ['takes any text for a stamp', 'stamps', { parseStamp: (text) => ours.parseStamp(text.trim()) }],
    ['allows no drift', 'drift', { isAhead: ({ millis }, wall) => millis > wall }],
    [
      'keeps the first of two equal stamps',
      'merges',
      { mergeRecords: (a, b) => (ours.compareStamps(a.base, b.base) >= 0 ? a : b) },
    ],
    [
      'merges no fields',
      'merges',
      { mergeRecords: (a, b) => (ours.compareStamps(a.timestamp, b.timestamp) >= 0 ? a : b) },
    ],
    [
      'applies no PATCH',
      'writes',
      { writtenIn: (ops) => ours.writtenIn(ops.filter(({ opType }) => opType !== 'PATCH')) },
    ],
    [
      'forgets the base',
      'records',
      { normalizeRecord: (raw) => ours.normalizeRecord({ ...raw, base: raw.timestamp }) },
    ],
    ['expires a millisecond early', 'visibility', { isExpired: (record, now) => ours.isExpired(record, now + 1) }],
    ['sums without mixing', 'tries', { trieOf: () => ({ rootHash: 0, digest: '', nodes: [] }) }],
    ['swaps bytes when mixing', 'mixes', { murmur3: (data) => ours.murmur3(data.toReversed()) }],
    [
      'writes names as they come',
      'values',
      { canonicalBytes: (value) => ours.canonicalBytes(JSON.parse(JSON.stringify(value)) as never) },
    ],
    ['packs every number as a double', 'values', { encodeMsgpack: () => new Uint8Array([0xcb]) }],
    ['keeps minus zero', 'other-forms', { decodeJson: (text) => JSON.parse(text) as unknown }],
    [
      'takes a duplicate key',
      'refused-frames',
      { refusalOfFrame: (frame) => (typeof frame === 'string' ? ours.refusalOfFrame(frame) : undefined) },
    ],
    [
      'compares texts by language',
      'orders',
      {
        compareForOrder: (a, b) =>
          typeof a === 'string' && typeof b === 'string' ? a.localeCompare(b) : ours.compareForOrder(a, b),
      },
    ],
    ['matches nothing where it knows no operator', 'refused-queries', { matches: () => false }],
    [
      'takes absent for null',
      'where',
      { matches: (query, value) => ours.matches(query, { missing: null, ...(value as object) }) },
    ],
    [
      'lets like mind case',
      'predicates',
      { matches: (query, value) => query.predicate?.op !== 'like' && ours.matches(query, value) },
    ],
    ['sorts ties in reverse', 'sorts', { sortedKeys: (sort, rows) => ours.sortedKeys(sort, rows).toReversed() }],
    ['takes a removal by its stamp', 'item-merges', { mergeItems: ours.mergeRecords }],
    [
      'forgets removals',
      'or-maps',
      {
        shownAfter: (ops, now) =>
          ours.shownAfter(
            ops.filter((op) => 'add' in op),
            now,
          ),
      },
    ],
    ['adds up rows', 'counters', { countedIn: (rows) => ours.countedIn([...rows, ['x', { p: 1, n: 0 }]]) }],
    ['stems nothing', 'terms', { termsOf: (text) => text.toLowerCase().split(' ') }],
    [
      'lets weights out',
      'searches',
      { scoresOf: (all, query, fields, _, prefix) => ours.scoresOf(all, query, fields, undefined, prefix) },
    ],
    [
      'takes the last colon',
      'item-keys',
      { parseItemKey: (text) => ours.parseItemKey(text.replace(/:([^:]*)$/, '-$1')) },
    ],
    [
      'forgets how long the answer took',
      'clock-offsets',
      { clockOffset: (sentAt, _, serverTime) => serverTime - sentAt },
    ],
    [
      'never goes above a stamp it observed',
      'clocks',
      {
        clockSteps: (sequence) =>
          ours.clockSteps({ ...sequence, steps: sequence.steps.filter(({ observe }) => observe === undefined) }),
      },
    ],
  ]
  it.each(mutants)('that %s, in %s.json', (_, file, broken) => {
    expect(failuresIn(file, { ...ours, ...broken }).length).toBeGreaterThan(0)
  })
})
