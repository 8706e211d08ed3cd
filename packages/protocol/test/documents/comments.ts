import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript-api'
import type { JsonSchema } from '../../src/json-schema.ts'

// What the comments in `src/` say of messages. They are read by the JavaScript API of the compiler, which knows of what an
// interface is made, and which TypeScript 7 no longer has.

/** What documents take from the comments of types. */
export interface Comments {
  /** The sentences above the interface of a type of message, or above one of this name. */
  summaryOf(name: string): string
  /** The schema of a type of message, or of an interface of this name, where each member says what its comment says. */
  described(name: string, schema: JsonSchema): JsonSchema
}

type Types = readonly ts.Type[]

/** The members of a schema that lead to others. */
interface Followed extends JsonSchema {
  readonly $ref?: string
  readonly anyOf?: readonly JsonSchema[]
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly items?: JsonSchema
  readonly additionalProperties?: JsonSchema | boolean
}

const source = (path: string): string => fileURLToPath(new URL(`../../src/${path}`, import.meta.url))

/** Reads the comments of all messages. */
export function readComments(): Comments {
  const features = readdirSync(source('messages')).filter((file) => !file.endsWith('.schema.ts'))
  const files = ['message.ts', ...features.map((file) => `messages/${file}`)].map(source)
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    customConditions: ['@syncline/source'],
    allowImportingTsExtensions: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    types: [],
  })
  return new TypeComments(program, files)
}

class TypeComments implements Comments {
  readonly #checker: ts.TypeChecker
  readonly #types = new Map<string, ts.Type[]>()
  readonly #summaries = new Map<string, string>()

  constructor(program: ts.Program, files: readonly string[]) {
    this.#checker = program.getTypeChecker()
    for (const file of files) {
      const module = this.#checker.getSymbolAtLocation(program.getSourceFile(file) as ts.Node)
      for (const symbol of module === undefined ? [] : this.#checker.getExportsOfModule(module)) {
        if (symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias)) this.#read(symbol)
      }
    }
  }

  summaryOf(name: string): string {
    return this.#summaries.get(name) ?? ''
  }

  described(name: string, { $defs, ...schema }: JsonSchema): JsonSchema {
    const definitions = ($defs ?? {}) as Readonly<Record<string, JsonSchema>>
    const named = new Map<string, JsonSchema>()
    const described = this.#describe(schema, this.#types.get(name) ?? [], definitions, named)
    if ($defs === undefined) return described
    const inOrder = Object.keys(definitions).map((id) => [id, named.get(id) ?? definitions[id]])
    return { ...described, $defs: Object.fromEntries(inOrder) as object }
  }

  /** Follows a schema and the types of what it describes, side by side. */
  #describe(
    schema: JsonSchema,
    types: Types,
    definitions: Readonly<Record<string, JsonSchema>>,
    named: Map<string, JsonSchema>,
  ): JsonSchema {
    const follow = (inner: JsonSchema, of: Types): JsonSchema => this.#describe(inner, of, definitions, named)
    const { $ref, anyOf, properties, items, additionalProperties } = schema as Followed
    if ($ref !== undefined) {
      const id = $ref.replace('#/$defs/', '')
      const definition = definitions[id]
      if (definition !== undefined && !named.has(id)) {
        named.set(id, definition)
        named.set(id, follow(definition, types))
      }
      return schema
    }
    if (anyOf !== undefined) return { ...schema, anyOf: anyOf.map((form) => follow(form, this.#ofForm(form, types))) }
    if (properties !== undefined) {
      const members = Object.entries(properties).map(([member, field]) => {
        const symbols = types.flatMap((type) => type.getProperty(member) ?? [])
        const [comment] = symbols.map((symbol) => this.#comment(symbol)).filter((text) => text !== '')
        const inside = follow(field, constituents(symbols.map((symbol) => this.#checker.getTypeOfSymbol(symbol))))
        return [member, comment === undefined ? inside : { ...inside, description: comment }]
      })
      return { ...schema, properties: Object.fromEntries(members) as object }
    }
    if (items !== undefined) return { ...schema, items: follow(items, indexed(types, ts.IndexKind.Number)) }
    if (typeof additionalProperties === 'object') {
      return {
        ...schema,
        additionalProperties: follow(additionalProperties, indexed(types, ts.IndexKind.String)),
      }
    }
    return schema
  }

  /** Which of the types one form of a schema describes: those with its required members, and its words in them. */
  #ofForm({ properties = {}, required = [] }: Followed, types: Types): Types {
    return types.filter(
      (type) =>
        required.every((name) => type.getProperty(name) !== undefined) &&
        Object.entries(properties).every(([name, field]) => {
          const words = field['const'] === undefined ? field['enum'] : [field['const']]
          const property = type.getProperty(name)
          if (words === undefined || property === undefined) return true
          return constituents([this.#checker.getTypeOfSymbol(property)]).some(
            (literal) => literal.isLiteral() && (words as unknown[]).includes(literal.value),
          )
        }),
    )
  }

  #read(symbol: ts.Symbol): void {
    const declared = this.#checker.getDeclaredTypeOfSymbol(symbol)
    const summary = this.#comment(symbol).replace(/^[CS]→[CS]\.\s*/, '')
    this.#summaries.set(symbol.name, summary)
    this.#types.set(symbol.name, [declared])
    for (const type of constituents([declared])) {
      const property = type.getProperty('type')
      const literal = property && this.#checker.getTypeOfSymbol(property)
      if (literal === undefined || !literal.isStringLiteral()) continue
      // An interface says what its type of message is, the last of several; the unions of message.ts, what it is made of.
      if (type === declared) this.#summaries.set(literal.value, summary)
      if (type !== declared) this.#types.set(literal.value, [...(this.#types.get(literal.value) ?? []), type])
    }
  }

  #comment(symbol: ts.Symbol): string {
    return ts.displayPartsToString(symbol.getDocumentationComment(this.#checker)).replaceAll(/\s+/g, ' ').trim()
  }
}

/** What unions are made of, and what type parameters stand for. */
function constituents(types: Types): Types {
  return types.flatMap((type) => {
    if (type.isUnion()) return constituents(type.types)
    const stands = type.isTypeParameter() ? type.getDefault() : undefined
    return stands === undefined ? [type] : constituents([stands])
  })
}

/** What lists or maps of some types hold. */
function indexed(types: Types, kind: ts.IndexKind): Types {
  return constituents(
    types.flatMap(
      (type) => (kind === ts.IndexKind.Number ? type.getNumberIndexType() : type.getStringIndexType()) ?? [],
    ),
  )
}
