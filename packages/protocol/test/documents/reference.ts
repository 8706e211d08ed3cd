import { encodeValueJson } from '../../src/codec/json.ts'
import { CLOSE_CODES, ERRORS } from '../../src/errors.ts'
import { LIMITS } from '../../src/limits.ts'
import type { Entry, MessageEntry } from './documents.ts'
import { membersOf, type Member, type Schema } from './forms.ts'

/** The reference of all messages: their fields, by feature. */
export function reference(entries: readonly MessageEntry[], bodies: readonly Entry[]): string {
  const features = [...new Set(entries.map(({ feature }) => feature))]
  const definitions = Object.assign({}, ...[...entries, ...bodies].map(({ schema }) => schema['$defs'])) as Record<
    string,
    Schema
  >
  const anchor = (type: string): string => `[${type}](#${type.toLowerCase()})`
  return `${[
    '# Messages',
    '',
    'All messages, field by field. This page is made from the schemas in `schemas/` by `pnpm generate`; what the fields do is in',
    '[SPEC.md](SPEC.md), whose rules each message names. Fields of a client may stand beside `type` or in `payload` ([FR12]); this page',
    'shows where they are sent. Every message may carry `requestId` ([FR13]). `?` stands behind a field that may be absent.',
    '',
    '| feature | from the client | from the server |',
    '|---|---|---|',
    ...features.map((feature) => {
      const of = (from: MessageEntry['from']): string =>
        entries
          .filter((entry) => entry.feature === feature && entry.from === from)
          .map(({ type }) => anchor(type))
          .join(', ')
      return `| ${feature} | ${of('client')} | ${of('server')} |`
    }),
    '',
    ...features.flatMap((feature) => [
      `## ${feature}`,
      '',
      ...entries.filter((entry) => entry.feature === feature).flatMap((entry) => section(entry, anchor, definitions)),
    ]),
    '## POST /sync',
    '',
    'The bodies of a request and of its reply, in JSON or MessagePack ([HS1]); `vectors/http-exchanges.json` has a conversation.',
    '',
    ...bodies.flatMap((entry) => [
      `### ${entry.type}`,
      '',
      entry.summary,
      '',
      ...tableOf(membersOf(entry.schema as Schema).flatMap((each) => row(each, '', definitions))),
      ...ending(entry),
    ]),
    '## What messages share',
    '',
    ...Object.entries(definitions)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([name, schema]) => [
        `### ${name}`,
        '',
        ...(schema.properties === undefined || schema['maxProperties'] === 1
          ? [describe(schema, true), '']
          : tableOf(rows(schema, '', definitions))),
      ]),
    '## Errors',
    '',
    '| code | status | again | |',
    '|---|---|---|---|',
    ...Object.entries(ERRORS).map(
      ([code, { status, retryable, help }]) => `| \`${code}\` | ${status} | ${retryable ? 'yes' : ''} | ${help} |`,
    ),
    '',
    '`again`: the same request may succeed later ([ER1], [ER4]).',
    '',
    '## Close codes',
    '',
    '| code | name |',
    '|---|---|',
    ...Object.entries(CLOSE_CODES).map(([name, code]) => `| ${code} | ${name} |`),
    '',
    '## Limits',
    '',
    '| name | at most |',
    '|---|---|',
    ...Object.entries(LIMITS).map(([name, max]) => `| \`${name}\` | ${shown(max)} |`),
    '',
  ]
    .join('\n')
    .trimEnd()}\n`
}

type Definitions = Readonly<Record<string, Schema>>

function section(entry: MessageEntry, anchor: (type: string) => string, definitions: Definitions): readonly string[] {
  const { type, from, summary, replies } = entry
  const outline = membersOf(entry.schema as Schema).filter(({ name }) => name !== 'type')
  const payload = outline.find(({ name }) => name === 'payload')
  const fields =
    payload === undefined
      ? outline.flatMap((each) => row(each, '', definitions))
      : rows(payload.schema, '', definitions)
  return [
    `### ${type}`,
    '',
    `From the ${from}${payload === undefined ? '' : ', in `payload`'}. ${summary}`.trim(),
    ...(from === 'client'
      ? [
          '',
          replies.length === 0
            ? 'No answer.'
            : `Answered by ${replies.map(anchor).join(', ')}; ${anchor('ERROR')} where it is refused.`,
        ]
      : []),
    '',
    ...tableOf(fields),
    ...ending(entry),
  ]
}

function tableOf(fields: readonly string[]): readonly string[] {
  return fields.length === 0 ? ['No fields.', ''] : ['| field | type | |', '|---|---|---|', ...fields, '']
}

function ending({ rules, examples }: Entry): readonly string[] {
  return [
    `Rules: ${rules.map((rule) => `[${rule}]`).join(' ')}. For example`,
    '',
    '```json',
    encodeValueJson(examples[0] as never),
    '```',
    '',
  ]
}

/** One row for each field, those of lists and maps inside below it. */
function rows(schema: Schema, path: string, definitions: Definitions): readonly string[] {
  return membersOf(schema).flatMap((member) => row(member, path, definitions))
}

function row({ name, schema, isRequired, only }: Member, path: string, definitions: Definitions): readonly string[] {
  // The envelope's, which the page names once; a `requestId` that a message must have is its own.
  if (path === '' && name === 'requestId' && !isRequired && schema.description === undefined) return []
  if (JSON.stringify(schema) === '{"not":{}}') return []
  const said = schema.description ?? definitions[schema.$ref?.replace('#/$defs/', '') ?? '']?.description ?? ''
  const where =
    only === undefined ? '' : `Where \`${only.name}\` is ${only.words.map((word) => `\`${word}\``).join(' or ')}. `
  const inside = schema.items ?? schema
  return [
    `| \`${path}${name}\`${isRequired ? '' : '?'} | ${describe(schema)} | ${where}${said} |`,
    ...rows(inside, `${path}${name}${schema.items === undefined ? '' : '[]'}.`, definitions),
  ]
}

const shown = (value: unknown): string => (typeof value === 'number' ? value.toLocaleString('en') : String(value))

/** The type of a field in a few words, with its limits. */
function describe(schema: Schema, isWhole = false): string {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace('#/$defs/', '')
    return `[${name}](#${name.toLowerCase()})`
  }
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map((each) => describe(each)))].join(' or ')
  const keyword = (name: string): string | undefined => (schema[name] === undefined ? undefined : shown(schema[name]))
  if (schema['const'] !== undefined) return `\`${JSON.stringify(schema['const'])}\``
  if (schema['enum'] !== undefined) return (schema['enum'] as readonly string[]).map((each) => `\`${each}\``).join(' ')
  if (isWhole && typeof schema['description'] === 'string') {
    return schema['description'].replace(/\{"\$bytes".*\}/, (form) => `\`${form}\``)
  }
  const isOpen = schema['minimum'] === Number.MIN_SAFE_INTEGER
  const [least, most] = [isOpen ? undefined : (keyword('minimum') ?? keyword('exclusiveMinimum')), keyword('maximum')]
  const [shortest, longest] = [keyword('minLength'), keyword('maxLength')]
  switch (schema.type) {
    case 'integer': {
      const from = schema['exclusiveMinimum'] === 0 ? '1' : least
      const isBounded = most !== shown(Number.MAX_SAFE_INTEGER) && most !== undefined
      return `whole number${isBounded ? `, ${from} to ${most}` : from === undefined ? '' : `, ${from} or more`}`
    }
    case 'number':
      return `number${least === undefined ? '' : schema['exclusiveMinimum'] === undefined ? `, ${least} or more` : `, above ${least}`}${most === undefined ? '' : `, at most ${most}`}`
    case 'string':
      return `text${longest === undefined ? '' : ` of ${shortest === undefined ? 'at most ' : `${shortest} to `}${longest}`}${schema['pattern'] === undefined ? '' : `, \`${schema['pattern'] as string}\``}`
    case 'array': {
      const tuple = schema['prefixItems'] as readonly Schema[] | undefined
      if (tuple !== undefined) return `[${tuple.map((each) => describe(each)).join(', ')}]`
      const { maxItems } = schema
      return `list${maxItems === undefined ? '' : ` of at most ${shown(maxItems)}`}: ${schema.items === undefined ? 'anything' : describe(schema.items)}`
    }
    case 'object': {
      const member = schema['additionalProperties'] as Schema | undefined
      const { maxProperties } = schema
      return member === undefined || typeof member !== 'object'
        ? 'map'
        : `map${maxProperties === undefined ? '' : ` of at most ${shown(maxProperties)}`}: ${describe(member)}`
    }
    default:
      return typeof schema.type === 'string' ? schema.type : Array.isArray(schema.type) ? 'any value' : 'anything'
  }
}
