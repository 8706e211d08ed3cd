import { isStamp, measureValue, utf8Length, type FieldState, type Stamp, type Value } from '@syncline/core'
import * as z from 'zod'
import { ERRORS, type ErrorCode } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { isFields } from '../read/fields.ts'

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
  return z
    .string()
    .min(1)
    .max(maxBytes)
    .refine((text) => utf8Length(text) >= 0 && utf8Length(text) <= maxBytes)
}

/** An id of an op, query or request. */
export const id: z.ZodString = z.string().min(1).max(LIMITS.idLength)

/** A map's name. */
export const mapName: z.ZodType<string> = name(LIMITS.mapNameBytes)

/** A record's key. */
export const key: z.ZodType<string> = name(LIMITS.keyBytes)

/** A whole number that is not negative, such as a seq. */
export const count: z.ZodNumber = z.int().min(0)

/** A stamp of a hybrid logical clock. */
export const stamp: z.ZodType<Stamp> = z
  .object({ millis: count, counter: count.max(65_535), nodeId: z.string().max(LIMITS.nodeIdLength) })
  .refine(isStamp)

/** Anything that a record can hold, up to its limits. */
export const value: z.ZodType<Value> = z.custom<Value>((input) => {
  const size = measureValue(input)
  return typeof size === 'number' && size <= LIMITS.valueBytes
})

/** Milliseconds from the base stamp to a record's end. */
export const ttlMs: z.ZodNumber = z.number().positive()

/** A field's own write. */
export const fieldState: z.ZodType<FieldState> = z.object({
  stamp,
  unset: z.literal(true).exactOptional(),
  value: value.exactOptional(),
})

/** Bytes, as a decoder gives them. */
export const bytes: z.ZodType<Uint8Array> = z.custom<Uint8Array>((input) => input instanceof Uint8Array)

/** A map of anything. */
export const anyMap: z.ZodType<Readonly<Record<string, unknown>>> = mapNamed(() => true)

/** A map from names that pass a test to values of one kind. A zod record alone does not see the name `__proto__`. */
export function mapOf<V>(
  member: z.ZodType<V>,
  areNames: (names: readonly string[]) => boolean,
): z.ZodType<Record<string, V>> {
  const members = z.record(z.string(), member)
  return mapNamed(areNames).pipe(members as z.ZodType<Record<string, V>, Readonly<Record<string, unknown>>>)
}

function mapNamed(areNames: (names: readonly string[]) => boolean): z.ZodType<Readonly<Record<string, unknown>>> {
  return z.custom<Readonly<Record<string, unknown>>>((input) => isFields(input) && areNames(Object.keys(input)))
}

/** A code of the error table. */
export const errorCode: z.ZodType<ErrorCode> = z.enum(Object.keys(ERRORS) as ErrorCode[])
