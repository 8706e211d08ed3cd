import { isStamp, measureValue, utf8Length, type FieldState, type Stamp, type Value } from '@syncline/core'
import { isTriePath } from '@syncline/core/merkle'
import * as z from 'zod'
import { ERRORS, type ErrorCode } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { isFields } from '../read/fields.ts'

/**
 * What JSON Schema has to be told of schemas that zod checks by code, and the names of those that many messages share: a
 * schema with an `id` stands once among the definitions.
 */
export const jsonForms = /* @__PURE__ */ z.registry<{ readonly id?: string; readonly [keyword: string]: unknown }>()

// What the schemas of all features share. They describe the shapes of messages for tests, documents and code that is
// not on the way of a write; there, and in browsers, `readClientMessage` and `readServerMessage` say the same by hand.

/** A message with its fields in `payload`. */
export function wrapped<T extends string, P>(
  type: T,
  payload: z.ZodType<P>,
): z.ZodType<{ readonly type: T; readonly payload: P; readonly requestId?: string }> {
  return z.object({ type: z.literal(type), requestId: id.exactOptional(), payload })
}

/** A message with its fields beside `type`. */
export function flat<T extends string, S extends z.ZodRawShape>(type: T, shape: S) {
  return z.object({ type: z.literal(type), requestId: id.exactOptional(), ...shape })
}

/** A text of 1 to `maxBytes` bytes. */
export function name(maxBytes: number): z.ZodType<string> {
  const schema = z
    .string()
    .min(1)
    .max(maxBytes)
    .refine((text) => utf8Length(text) >= 0 && utf8Length(text) <= maxBytes)
  jsonForms.add(schema, { description: `A text of 1 to ${maxBytes} bytes of UTF-8, without U+0000.` })
  return schema
}

/** An id of an op, query or request. */
export const id: z.ZodString = z.string().min(1).max(LIMITS.idLength)

/** A map's name. */
export const mapName: z.ZodType<string> = named('mapName', name(LIMITS.mapNameBytes))

/** A record's key. */
export const key: z.ZodType<string> = named('key', name(LIMITS.keyBytes))

/** A whole number that is not negative, such as a seq. */
export const count: z.ZodNumber = z.int().min(0)

/** A stamp of a hybrid logical clock. */
export const stamp: z.ZodType<Stamp> = named(
  'stamp',
  z.object({ millis: count, counter: count.max(65_535), nodeId: z.string().max(LIMITS.nodeIdLength) }).refine(isStamp),
)

/** Anything that a record can hold, up to its limits. */
export const value: z.ZodType<Value> = named(
  'value',
  z.custom<Value>((input) => {
    const size = measureValue(input)
    return typeof size === 'number' && size <= LIMITS.valueBytes
  }),
  {
    description: `Anything that a record can hold, with at most ${LIMITS.valueBytes.toLocaleString('en')} canonical bytes and ${LIMITS.valueDepth} levels; bytes are {"$bytes": base64}.`,
    type: ['null', 'boolean', 'number', 'string', 'array', 'object'],
  },
)

/** Milliseconds from the base stamp to a record's end. */
export const ttlMs: z.ZodNumber = z.number().positive()

/** A field's own write. */
export const fieldState: z.ZodType<FieldState> = named(
  'fieldState',
  z.object({
    stamp,
    unset: z.literal(true).exactOptional(),
    value: value.exactOptional(),
  }),
)

/** Bytes, as a decoder gives them. */
export const bytes: z.ZodType<Uint8Array> = named(
  'bytes',
  z.custom<Uint8Array>((input) => input instanceof Uint8Array),
  {
    description: 'Bytes in JSON: base64 with padding. In MessagePack they are bin.',
    type: 'object',
    properties: { $bytes: { type: 'string', contentEncoding: 'base64', description: 'The bytes ([FR4]).' } },
    required: ['$bytes'],
    maxProperties: 1,
  },
)

/** The path of a node of a trie. */
export const triePath: z.ZodString = z.string().refine(isTriePath)
jsonForms.add(triePath, { pattern: '^[0-9a-f]{0,8}$' })

/** A map of anything. */
export const anyMap: z.ZodType<Readonly<Record<string, unknown>>> = mapNamed(() => true)

/** A map from names that pass a test to values of one kind. A zod record alone does not see the name `__proto__`. */
export function mapOf<V>(
  member: z.ZodType<V>,
  areNames: (names: readonly string[]) => boolean,
  maxNames?: number,
): z.ZodType<Record<string, V>> {
  const members = z.record(z.string(), member)
  if (maxNames !== undefined) jsonForms.add(members, { maxProperties: maxNames })
  return mapNamed(areNames).pipe(members as z.ZodType<Record<string, V>, Readonly<Record<string, unknown>>>)
}

function mapNamed(areNames: (names: readonly string[]) => boolean): z.ZodType<Readonly<Record<string, unknown>>> {
  const schema = z.custom<Readonly<Record<string, unknown>>>((input) => isFields(input) && areNames(Object.keys(input)))
  jsonForms.add(schema, { type: 'object' })
  return schema
}

/** A code of the error table. */
export const errorCode: z.ZodType<ErrorCode> = named('errorCode', z.enum(Object.keys(ERRORS) as ErrorCode[]))

/** A schema under a name of its own among the definitions of JSON Schema. */
export function named<S extends z.ZodType>(id: string, schema: S, keywords: object = {}): S {
  jsonForms.add(schema, { ...jsonForms.get(schema), ...keywords, id })
  return schema
}
