import { isFieldName, utf8Length } from '@syncline/core'
import { LIMITS } from './limits.ts'
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

/** What an application and its server agree on. */
export interface Contract {
  /** Rises with every change of the contract. */
  readonly version?: number
  readonly maps?: Readonly<Record<string, AnyMapDef>>
}

/** Declares a map of a contract. */
export function map<S extends StandardSchema>(definition: Omit<MapDef<S>, 'kind'>): MapDef<S> {
  return { kind: 'map', ...definition }
}

/** Declares a contract and returns it unchanged. Throws an `Error` that names what is wrong with it. */
export function defineContract<const C extends Contract>(contract: C): C {
  const members: readonly string[] = ['version', 'maps']
  for (const name of Object.keys(contract)) {
    if (!members.includes(name)) fail(`"${name}" is no part of it; the parts are ${members.join(' and ')}`)
  }
  const { version, maps = {} }: Contract = contract
  if (version !== undefined && !(Number.isSafeInteger(version) && version > 0))
    fail('version must be a whole number above 0')
  if (typeof maps !== 'object' || maps === null) fail('maps must be an object of map({ … })')
  for (const [name, definition] of Object.entries(maps)) checkMap(name, definition)
  return contract
}

function checkMap(name: string, definition: AnyMapDef): void {
  const where = `maps.${name}`
  if (name === '' || !isFieldName(name) || utf8Length(name) > LIMITS.mapNameBytes) {
    fail(`${where}: a map's name is a well-formed text of 1 to ${LIMITS.mapNameBytes} bytes that is not reserved`)
  }
  const given: unknown = definition
  if (typeof given !== 'object' || given === null || definition.kind !== 'map')
    fail(`${where} must be made by map({ … })`)
  const { schema, indexes, search, ttlMs } = definition
  const standard: unknown = (schema as Partial<StandardSchema> | undefined)?.['~standard']
  if (typeof (standard as { validate?: unknown } | undefined)?.validate !== 'function') {
    fail(`${where}.schema must be a schema of a validator that implements Standard Schema`)
  }
  checkFields(`${where}.indexes`, indexes)
  checkFields(`${where}.search`, search)
  if (ttlMs !== undefined && !(typeof ttlMs === 'number' && ttlMs > 0 && ttlMs < Infinity)) {
    fail(`${where}.ttlMs must be a positive number of milliseconds`)
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

function fail(reason: string): never {
  throw new Error(`Bad contract: ${reason}.`)
}
