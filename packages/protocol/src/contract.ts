import { isFieldName, utf8Length } from '@syncline/core'
import { COUNTER_NAME_BYTES, MAP_NAME_BYTES, TOPIC_LENGTH } from './limits.ts'
import { TOPIC_NAME } from './messages/topics.ts'
import type { Out, StandardSchema } from './standard-schema.ts'

export type { In, Out, StandardSchema, ValidationIssue, ValidationResult } from './standard-schema.ts'

/** The names of the top-level fields that a schema's values can have. */
export type FieldName<S extends StandardSchema> =
  Out<S> extends infer O ? (O extends object ? keyof O & string : never) : never

/** A map of a contract, whatever its schema. */
export interface AnyMapDef {
  readonly kind: 'map'
  readonly schema: StandardSchema
  readonly indexes?: readonly string[]
  readonly search?: readonly string[]
  readonly ttlMs?: number
}

/** A map of records that merge by field. */
export interface MapDef<S extends StandardSchema = StandardSchema> extends AnyMapDef {
  /** What a value must look like: a schema of any Standard Schema validator. */
  readonly schema: S
  /** Fields that queries select and sort by often. */
  readonly indexes?: readonly FieldName<S>[]
  /** Text fields that can be searched. */
  readonly search?: readonly FieldName<S>[]
  /** Milliseconds after which a record reads as absent, unless the write says otherwise. Without it records stay. */
  readonly ttlMs?: number
}

/** An OR-map of a contract, whatever its schema: under each of its keys a set of values. */
export interface AnySetDef {
  readonly kind: 'set'
  readonly schema: StandardSchema
}

/** Sets of values, one under each key: what one adds while another removes it, stays. */
export interface SetDef<S extends StandardSchema = StandardSchema> extends AnySetDef {
  /** What one value of a set must look like. */
  readonly schema: S
}

/** Counters: what many add at the same time, or offline, adds up. */
export interface CounterDef {
  readonly kind: 'counter'
}

/** A topic of a contract, whatever its schema. */
export interface AnyTopicDef {
  readonly kind: 'topic'
  readonly schema: StandardSchema
}

/** A topic: what is published reaches who listens at that time. */
export interface TopicDef<S extends StandardSchema = StandardSchema> extends AnyTopicDef {
  /** What one message must look like. */
  readonly schema: S
}

/** A kind of room of a contract, whatever its schemas. */
export interface AnyRoomDef {
  readonly kind: 'room'
  readonly presence: StandardSchema
  readonly topics: Readonly<Record<string, StandardSchema>>
}

/** Rooms: who is in one sees who else is, what each of them shows, and what they say on its topics. */
export interface RoomDef<
  P extends StandardSchema = StandardSchema,
  T extends Readonly<Record<string, StandardSchema>> = Readonly<Record<string, StandardSchema>>,
> extends AnyRoomDef {
  /** What each member shows of itself. */
  readonly presence: P
  /** What the messages on its topics must look like. */
  readonly topics: T
}

/** What an application and its server agree on. */
export interface Contract {
  /** Rises with every change of the contract. */
  readonly version?: number
  readonly maps?: Readonly<Record<string, AnyMapDef>>
  readonly sets?: Readonly<Record<string, AnySetDef>>
  readonly counters?: Readonly<Record<string, CounterDef>>
  readonly topics?: Readonly<Record<string, AnyTopicDef>>
  readonly rooms?: Readonly<Record<string, AnyRoomDef>>
}

/** Declares a map of a contract. */
export function map<S extends StandardSchema>(definition: Omit<MapDef<S>, 'kind'>): MapDef<S> {
  return { kind: 'map', ...definition }
}

/** Declares sets of a contract. */
export function set<S extends StandardSchema>(definition: Omit<SetDef<S>, 'kind'>): SetDef<S> {
  return { kind: 'set', ...definition }
}

/** Declares counters of a contract. */
export function counter(): CounterDef {
  return { kind: 'counter' }
}

/** Declares a topic of a contract. */
export function topic<S extends StandardSchema>(schema: S): TopicDef<S> {
  return { kind: 'topic', schema }
}

/** Declares a kind of room of a contract. */
export function room<
  P extends StandardSchema,
  // eslint-disable-next-line typescript/no-empty-object-type -- a room without topics has none by name.
  const T extends Readonly<Record<string, StandardSchema>> = {},
>(definition: { readonly presence: P; readonly topics?: T }): RoomDef<P, NoInfer<T>> {
  return { kind: 'room', ...definition, topics: definition?.topics ?? ({} as T) }
}

/** A map: those of counters are no others (SPEC [KD2]). */
const MAP_NAME = /^(?!counter:)/
/** A kind of room (SPEC [CO5]): a colon and an id after it make the name of a room. */
const ROOM_KIND = /^[A-Za-z0-9_\-.:/]{1,126}$/
/** A topic of a kind of room (SPEC [CO5]): `room:ROOM:` before it makes the name of a topic, whatever the room. */
const ROOM_TOPIC = /^[A-Za-z0-9_\-./]{1,122}$/

/** What each part of a contract holds: the constructor that makes it, what is checked of that, and what its names are. */
const PARTS: Readonly<Record<string, readonly [made: string, check: Check, ...names: NameRule]>> = {
  maps: ['map', checkMap, MAP_NAME],
  sets: ['set', checkSchemaOf, MAP_NAME],
  counters: ['counter', () => {}, /^/, COUNTER_NAME_BYTES],
  topics: ['topic', checkSchemaOf, TOPIC_NAME, TOPIC_LENGTH],
  rooms: ['room', checkRoom, ROOM_KIND],
}

type Check = (where: string, definition: never) => void
type NameRule = readonly [pattern?: RegExp, maxBytes?: number]

/**
 * Declares a contract and returns it unchanged. Throws an `Error` with the `code` VALIDATION_ERROR that names what is wrong
 * with it.
 */
export function defineContract<const C extends Contract>(contract: C): C {
  const members = ['version', ...Object.keys(PARTS)]
  for (const name of Object.keys(contract ?? fail('it must be an object of its parts'))) {
    if (!members.includes(name)) {
      fail(`"${name}" is no part of it; the parts are ${members.slice(0, -1).join(', ')} and ${members.at(-1)}`)
    }
  }
  const { version, maps, sets }: Contract = contract
  if (version !== undefined && !(Number.isSafeInteger(version) && version > 0))
    fail('version must be a whole number above 0')
  for (const [part, [made, check, ...names]] of Object.entries(PARTS)) {
    const definitions: unknown = contract[part as keyof C] ?? {}
    if (typeof definitions !== 'object') fail(`${part} must be an object of ${made}(…)`)
    for (const [name, definition] of Object.entries(definitions as object)) {
      const where = `${part}.${name}`
      checkName(where, name, ...names)
      if ((definition as { kind?: unknown } | null)?.kind !== made) fail(`${where} must be made by ${made}(…)`)
      check(where, definition as never)
    }
  }
  for (const name of Object.keys(sets ?? {})) {
    if (Object.hasOwn(maps ?? {}, name)) fail(`"${name}" is both in maps and in sets, which are maps of one name`)
  }
  return contract
}

/** The fields that a contract's maps have indexes on, by map: what `createServer` takes as `queries.indexes`. */
export function indexesOf({ maps = {} }: Contract): Record<string, string[]> {
  const declared = Object.entries(maps).filter(([, { indexes = [] }]) => indexes.length > 0)
  return Object.fromEntries(declared.map(([name, { indexes = [] }]) => [name, [...indexes]]))
}

function checkMap(where: string, { schema, indexes, search, ttlMs }: AnyMapDef): void {
  checkSchema(`${where}.schema`, schema)
  checkFields(`${where}.indexes`, indexes)
  checkFields(`${where}.search`, search)
  if (ttlMs !== undefined && !(typeof ttlMs === 'number' && ttlMs > 0 && ttlMs < Infinity)) {
    fail(`${where}.ttlMs must be a positive number of milliseconds`)
  }
}

function checkRoom(where: string, { presence, topics }: AnyRoomDef): void {
  checkSchema(`${where}.presence`, presence)
  for (const [name, schema] of Object.entries(topics)) {
    checkName(`${where}.topics.${name}`, name, ROOM_TOPIC)
    checkSchema(`${where}.topics.${name}`, schema)
  }
}

function checkSchemaOf(where: string, { schema }: { readonly schema: StandardSchema }): void {
  checkSchema(`${where}.schema`, schema)
}

function checkSchema(where: string, schema: unknown): void {
  const standard: unknown = (schema as Partial<StandardSchema> | undefined)?.['~standard']
  if (typeof (standard as { validate?: unknown } | undefined)?.validate !== 'function') {
    fail(`${where} must be a schema of a validator that implements Standard Schema`)
  }
}

function checkFields(where: string, fields: unknown): void {
  if (fields === undefined) return
  if (!Array.isArray(fields)) fail(`${where} must be a list of field names`)
  for (const field of fields as unknown[]) {
    if (typeof field !== 'string' || !isFieldName(field)) fail(`${where} must hold field names only`)
  }
  if (new Set(fields).size !== fields.length) fail(`${where} names a field twice`)
}

function checkName(where: string, name: string, ...[pattern = /^/, maxBytes = MAP_NAME_BYTES]: NameRule): void {
  if (name && isFieldName(name) && utf8Length(name) <= maxBytes && pattern.test(name)) return
  fail(
    `${where}: a name in it is a well-formed text of 1 to ${maxBytes} bytes that is not reserved and fits ${pattern}`,
  )
}

function fail(reason: string): never {
  throw Object.assign(new Error(`Bad contract: ${reason}.`), { code: 'VALIDATION_ERROR' })
}
