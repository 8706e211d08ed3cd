import { readFileSync } from 'node:fs'
import { clientMessageSchemas, serverMessageSchemas } from '../../src/message.schema.ts'
import { jsonSchemas, type JsonSchema } from '../../src/json-schema.ts'
import { PROTOCOL_VERSION } from '../../src/version.ts'
import { messageCases } from '../messages/list.ts'
import { asyncApi } from './asyncapi.ts'
import { commentsOf } from './comments.ts'
import { reference } from './reference.ts'
import { replies } from './replies.ts'

/** A file that is made from the schemas: its path in the package, and its text. */
export interface DocumentFile {
  readonly path: string
  readonly text: string
}

/** One type of message, with all that documents say of it. */
export interface MessageEntry {
  readonly type: string
  readonly feature: string
  readonly from: 'client' | 'server'
  readonly summary: string
  readonly members: Readonly<Record<string, string>>
  readonly schema: JsonSchema
  /** What a server answers. */
  readonly replies: readonly string[]
  /** Rules of SPEC.md that its vectors show. */
  readonly rules: readonly string[]
  /** Messages of this type, in JSON. */
  readonly examples: readonly object[]
}

const asText = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`

/** Everything that is made from the schemas, computed anew. */
export function buildDocuments(): readonly DocumentFile[] {
  const entries = messageEntries()
  return [
    ...entries.map(({ type, schema, summary }) => ({
      path: `schemas/${type}.json`,
      text: asText({ $schema: schema['$schema'], $id: idOf(type), title: type, description: summary, ...schema }),
    })),
    { path: 'schemas/bundle.json', text: asText(bundle(entries)) },
    { path: 'schemas/asyncapi.json', text: asText(asyncApi(entries)) },
    { path: 'MESSAGES.md', text: reference(entries) },
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
  return [title, '', note, ...rest].join('\n').replaceAll("the protocol's specification", '[SPEC.md](SPEC.md)')
}

/** All types of messages, by feature. */
export function messageEntries(): readonly MessageEntry[] {
  const schemas = jsonSchemas()
  const features = Object.keys(messageCases).filter((feature) => (messageCases[feature]?.messages.length ?? 0) > 0)
  const comments = commentsOf(features)
  return features.flatMap((feature) => {
    const cases = messageCases[feature]?.messages ?? []
    const types = [...new Set(cases.map(([, { type }]) => type))]
    return types.map((type) => {
      const own = cases.filter(([, message]) => message.type === type)
      const from = type in clientMessageSchemas ? 'client' : 'server'
      const said = comments.get(type)
      if (said === undefined || !(type in { ...clientMessageSchemas, ...serverMessageSchemas })) {
        throw new Error(`${type} has no interface in src/messages/${feature}.ts, or no schema.`)
      }
      return {
        type,
        feature,
        from,
        ...said,
        schema: schemas[type] as JsonSchema,
        replies: from === 'client' ? replies[type as keyof typeof replies] : [],
        rules: [...new Set(own.flatMap(([rules]) => rules.split(' ')))],
        examples: own.map(([, message]) => message),
      } as const
    })
  })
}

/** All schemas in one document, under one set of definitions. */
function bundle(entries: readonly MessageEntry[]): object {
  const definitions: Record<string, unknown> = {}
  for (const { type, schema, summary } of entries) {
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
    title: `Messages of the Syncline protocol, version ${PROTOCOL_VERSION}, in JSON frames`,
    $ref: '#/$defs/Message',
    $defs: {
      Message: { anyOf: [{ $ref: '#/$defs/ClientMessage' }, { $ref: '#/$defs/ServerMessage' }] },
      ClientMessage: anyOf('client'),
      ServerMessage: anyOf('server'),
      ...definitions,
    },
  }
}
