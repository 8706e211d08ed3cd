import type { JsonSchema } from '../../src/json-schema.ts'

/** A JSON Schema, with the members that a reader of it follows. */
export type Schema = JsonSchema & {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, Schema>>
}

/** A member of a map, in whichever of its forms. */
export interface Member {
  readonly name: string
  readonly schema: Schema
  readonly isRequired: boolean
  /** The member that tells the forms apart, and what it says in those that have this one. Undefined where all have it. */
  readonly only: { readonly name: string; readonly words: readonly string[] } | undefined
}

/** The members of a map, each once, however many forms it may have; none where the schema is of something else. */
export function membersOf(schema: Schema): readonly Member[] {
  const forms = formsOf(schema)
  const names = new Set(forms.flatMap(({ properties = {} }) => Object.keys(properties)))
  const sign = [...names].find((name) => isSign(name, forms))
  return [...names].map((name) => {
    const having = forms.filter(({ properties = {} }) => name in properties)
    const isEverywhere = having.length === forms.length
    return {
      name,
      schema: joined(having.map(({ properties }) => properties?.[name] as Schema)),
      isRequired: (isEverywhere || sign !== undefined) && having.every(({ required = [] }) => required.includes(name)),
      only:
        isEverywhere || sign === undefined
          ? undefined
          : { name: sign, words: having.flatMap(({ properties }) => wordsOf(properties?.[sign])) },
    }
  })
}

/** The maps that a schema may stand for. */
function formsOf(schema: Schema): readonly Schema[] {
  if (schema.anyOf !== undefined) return schema.anyOf.flatMap(formsOf)
  return schema.properties === undefined ? [] : [schema]
}

/** Says whether a member tells forms apart: each has words of its own for it. */
function isSign(name: string, forms: readonly Schema[]): boolean {
  const words = forms.map(({ properties = {} }) => wordsOf(properties[name]))
  return (
    forms.length > 1 && words.every(({ length }) => length > 0) && new Set(words.flat()).size === words.flat().length
  )
}

const wordsOf = (schema: Schema | undefined): readonly string[] =>
  schema?.['const'] === undefined ? ((schema?.['enum'] ?? []) as string[]) : [schema['const'] as string]

/** One schema for a member that forms describe each in its own way. */
function joined(schemas: readonly Schema[]): Schema {
  const [first = {}, ...others] = schemas
  const plain = (schema: Schema): string => JSON.stringify({ ...schema, description: undefined })
  if (others.every((schema) => plain(schema) === plain(first))) return first
  const about = first.description === undefined ? {} : { description: first.description }
  if (schemas.every((schema) => wordsOf(schema).length > 0)) {
    return { ...about, type: 'string', enum: [...new Set(schemas.flatMap(wordsOf))] }
  }
  if (schemas.every(({ items }) => items !== undefined)) {
    return { ...first, items: { anyOf: schemas.map(({ items }) => items as Schema) } }
  }
  return { ...about, anyOf: schemas }
}
