import { readFileSync } from 'node:fs'
import { clientMessageSchemas, httpBodySchemas } from '../../src/message.schema.ts'
import { jsonSchemas, type JsonSchema } from '../../src/json-schema.ts'
import { PROTOCOL_VERSION } from '../../src/version.ts'
import { messageCases } from '../messages/list.ts'
import { asyncApi } from './asyncapi.ts'
import { exchanges } from '../cases/http.ts'
import { readComments, type Comments } from './comments.ts'
import { reference } from './reference.ts'
import { replies } from './replies.ts'

/** A file that is made from the schemas: its path in the package, and its text. */
export interface DocumentFile {
  readonly path: string
  readonly text: string
}

/** One type of message, or one body of HTTP, with all that documents say of it. */
export interface Entry {
  readonly type: string
  readonly summary: string
  readonly schema: JsonSchema
  /** Rules of SPEC.md that its vectors show. */
  readonly rules: readonly string[]
  /** Messages of this type, in JSON. */
  readonly examples: readonly object[]
}

/** One type of message. */
export interface MessageEntry extends Entry {
  readonly feature: string
  readonly from: 'client' | 'server'
  /** What a server answers. */
  readonly replies: readonly string[]
}

const asText = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`

/** Everything that is made from the schemas, computed anew. */
export function buildDocuments(): readonly DocumentFile[] {
  const comments = readComments()
  const [entries, bodies] = [messageEntries(comments), bodyEntries(comments)]
  return [
    ...[...entries, ...bodies].map(({ type, schema, summary }) => ({
      path: `schemas/${type}.json`,
      text: asText({ $schema: schema['$schema'], $id: idOf(type), title: type, description: summary, ...schema }),
    })),
    { path: 'schemas/bundle.json', text: asText(bundle(entries, bodies)) },
    { path: 'schemas/asyncapi.json', text: asText(asyncApi(entries, bodies)) },
    { path: 'MESSAGES.md', text: reference(entries, bodies) },
    { path: 'CORE.md', text: core() },
  ]
}

const idOf = (name: string): string => `urn:syncline:protocol:${PROTOCOL_VERSION}:${name}`

/** The rules of core, so that this package can be read without another. */
function core(): string {
  const spec = readFileSync(new URL('../../../core/SPEC.md', import.meta.url), 'utf8')
  const [title = '', ...rest] = spec.split('\n')
  const note =
    'This page is a copy of the specification of `@syncline/core`, made by `pnpm generate`, beside which the protocol is published.'
  return (
    [title, '', note, ...rest]
      .join('\n')
      .replaceAll("the protocol's specification", '[SPEC.md](SPEC.md)')
      // Whoever reads it here does not have the sources of core.
      .replace('`src/search/stop-words.ts`', '`vectors/stop-words.json`')
  )
}

/** The bodies of a `POST /sync`. */
export function bodyEntries(comments: Comments = readComments()): readonly Entry[] {
  const schemas = jsonSchemas()
  return Object.keys(httpBodySchemas).map((type) => ({
    type,
    summary: comments.summaryOf(type),
    schema: comments.described(type, schemas[type] ?? {}),
    rules: [
      ...new Set(exchanges.flatMap(([, rules]) => rules.split(' ')).filter((rule) => rule.startsWith('HS'))),
    ].toSorted(),
    // One that both writes and asks comes first.
    examples: exchanges
      .toSorted(([, , a], [, , b]) => Object.keys(b).length - Object.keys(a).length)
      .map(([, , request, response]) => (type === 'HttpSyncRequest' ? request : response)),
  }))
}

/** All types of messages, by feature. */
export function messageEntries(comments: Comments = readComments()): readonly MessageEntry[] {
  const schemas = jsonSchemas()
  const features = Object.keys(messageCases).filter((feature) => (messageCases[feature]?.messages.length ?? 0) > 0)
  return features.flatMap((feature) => {
    const cases = messageCases[feature]?.messages ?? []
    const types = [...new Set(cases.map(([, { type }]) => type))]
    return types.map((type) => {
      const own = cases.filter(([, message]) => message.type === type)
      const from = type in clientMessageSchemas ? 'client' : 'server'
      const schema = schemas[type]
      if (schema === undefined) throw new Error(`${type} has no schema in src/message.schema.ts.`)
      return {
        type,
        feature,
        from,
        summary: comments.summaryOf(type),
        schema: comments.described(type, schema),
        replies: from === 'client' ? replies[type as keyof typeof replies] : [],
        rules: [...new Set(own.flatMap(([rules]) => rules.split(' ')))],
        examples: own.map(([, message]) => message),
      } as const
    })
  })
}

/** All schemas in one document, under one set of definitions. */
function bundle(entries: readonly MessageEntry[], bodies: readonly Entry[]): object {
  const definitions: Record<string, unknown> = {}
  for (const { type, schema, summary } of [...entries, ...bodies]) {
    const { $schema: _, $defs = {}, ...rest } = schema
    Object.assign(definitions, $defs)
    definitions[type] = { title: type, description: summary, ...rest }
  }
  const anyOf = (from: MessageEntry['from']): object => ({
    oneOf: entries.filter((entry) => entry.from === from).map(({ type }) => ({ $ref: `#/$defs/${type}` })),
  })
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: idOf('bundle'),
    title: `Messages of the Syncline protocol, version ${PROTOCOL_VERSION}, and bodies of HTTP, in JSON`,
    $ref: '#/$defs/Message',
    $defs: {
      Message: { anyOf: [{ $ref: '#/$defs/ClientMessage' }, { $ref: '#/$defs/ServerMessage' }] },
      ClientMessage: anyOf('client'),
      ServerMessage: anyOf('server'),
      ...definitions,
    },
  }
}
