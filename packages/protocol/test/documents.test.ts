import { existsSync, readFileSync, readdirSync } from 'node:fs'
import asyncApiSchema from '@asyncapi/specs/schemas/3.0.0-without-$id.json' with { type: 'json' }
import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { clientMessageSchemas, httpBodySchemas, serverMessageSchemas } from '../src/message.schema.ts'
import { stored } from './check.ts'
import { bodyEntries, buildDocuments, messageEntries } from './documents/documents.ts'
import { membersOf, type Schema } from './documents/forms.ts'
import { messageCases } from './messages/list.ts'

const root = new URL('../', import.meta.url)
const files = buildDocuments()
const entries = messageEntries()
const bodies = bodyEntries()
const readJson = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(path, root), 'utf8')) as Record<string, unknown>
const inFrames = (kind: string): readonly { readonly name: string; readonly message: { readonly type: string } }[] =>
  Object.keys(messageCases)
    .filter((feature) => existsSync(new URL(`vectors/${kind}/${feature}.json`, root)))
    .flatMap((feature) => stored(`${kind}/${feature}`))
    .map(({ name, json }) => ({ name, message: JSON.parse(json) as { type: string } }))

describe('documents that are made from the schemas', () => {
  it.each(files)('[VE5] $path is what the schemas say; `pnpm generate` writes it anew', ({ path, text }) => {
    expect(existsSync(new URL(path, root)) ? readFileSync(new URL(path, root), 'utf8') : 'missing').toBe(text)
  })

  it('[VE5] every type of message has its schema, and there are no others', () => {
    const types = [clientMessageSchemas, serverMessageSchemas, httpBodySchemas].flatMap((each) => Object.keys(each))
    expect(readdirSync(new URL('schemas/', root)).toSorted()).toEqual(
      [...types, 'asyncapi', 'bundle'].map((name) => `${name}.json`).toSorted(),
    )
  })

  it('[VE5] every type of message has its rules in SPEC.md, and a sentence above its interface', () => {
    const spec = readFileSync(new URL('SPEC.md', root), 'utf8')
    const lacking = entries.map(({ type, rules, summary }) => ({
      type,
      hasSentence: /^.{8,}\.$/.test(summary),
      isInSpec: new RegExp(String.raw`\b${type}\b`).test(spec),
      hasRules: rules.length > 0,
    }))
    expect(lacking.filter(({ hasSentence, isInSpec, hasRules }) => !hasSentence || !isInSpec || !hasRules)).toEqual([])
  })
})

/** The paths of all members of a schema that do not say what they are. */
function silentIn(schema: Schema, path: string): readonly string[] {
  const inside = schema.items ?? schema
  return membersOf(inside).flatMap(({ name, schema: member }) => {
    const isOutline = /^\w+$/.test(path) && ['type', 'payload', 'requestId'].includes(name)
    const isSilent = !isOutline && member.$ref === undefined && member.description === undefined
    return [...(isSilent ? [`${path}.${name}`] : []), ...silentIn(member, `${path}.${name}`)]
  })
}

describe('what a reader of the documents finds', () => {
  const page = readFileSync(new URL('MESSAGES.md', root), 'utf8')

  it('[VE5] every member of every message says what it is, in the schemas and in MESSAGES.md', () => {
    const silent = [...entries, ...bodies].flatMap(({ type, schema }) => {
      const definitions = Object.entries((schema as Schema).$defs ?? {})
      return [silentIn(schema as Schema, type), ...definitions.map(([name, each]) => silentIn(each, name))].flat()
    })
    // What is not built must not be asked for: there is nothing to say of it.
    expect(new Set(silent)).toEqual(
      new Set(['atomic', 'expect', 'transactionId'].map((name) => `OP_BATCH.payload.${name}`)),
    )
    const [messages = ''] = page.split('## Errors')
    expect(messages.split('\n').filter((line) => /^\| `.*\| +\|$/.test(line))).toEqual([])
  })

  it('[VE5] a message of several forms shows the members of each, and which form has them', () => {
    expect(page).not.toContain('No fields.')
    const rowsOf = (type: string): readonly string[] =>
      (page.split(`### ${type}\n`)[1]?.split('\n### ')[0] ?? '').split('\n').filter((line) => line.startsWith('| `'))
    const names = (type: string): readonly string[] => rowsOf(type).map((line) => line.split('|')[1]?.trim() ?? '')
    expect(names('CLIENT_OP')).toEqual(
      expect.arrayContaining(['`opType`?', '`record.unset`?', '`orRecord`', '`orTag`']),
    )
    expect(names('SERVER_EVENT')).toEqual(expect.arrayContaining(['`record`', '`cursor`?', '`orRecord`', '`orTag`']))
    expect(names('SERVER_BATCH_EVENT')).toEqual(expect.arrayContaining(['`events[].record`', '`events[].orTag`']))
    expect(rowsOf('CLIENT_OP').find((line) => line.includes('`orTag`'))).toContain('Where `opType` is `OR_REMOVE`. ')
    expect(rowsOf('SERVER_EVENT').find((line) => line.includes('`eventType`'))).toContain(
      '`PUT` `REMOVE` `OR_ADD` `OR_REMOVE`',
    )
  })
})

describe('JSON Schemas, by a validator that knows nothing of Syncline', () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true })
  const validators = new Map(
    [...entries, ...bodies].map(({ type }) => [type, ajv.compile(readJson(`schemas/${type}.json`))]),
  )
  const bundle = ajv.compile(readJson('schemas/bundle.json'))

  it.each(inFrames('messages'))(
    '[VE5] $name is valid under its schema, and one kind of message of the bundle',
    ({ message }) => {
      const validate = validators.get(message.type)
      expect({ valid: validate?.(message), errors: validate?.errors }).toEqual({ valid: true, errors: null })
      expect({ valid: bundle(message), errors: bundle.errors }).toEqual({ valid: true, errors: null })
    },
  )

  it.each(stored('http-exchanges'))(
    '[HS2] [VE5] $name: request and reply are valid under their schemas',
    (exchange) => {
      const { request, response } = exchange as unknown as Record<'request' | 'response', { readonly json: string }>
      for (const [type, { json }] of [
        ['HttpSyncRequest', request],
        ['HttpSyncResponse', response],
      ] as const) {
        const body: unknown = JSON.parse(json)
        // An op that is refused in its place is not valid.
        const valid = !json.includes('"timestamp":"now"')
        expect({ type, valid: validators.get(type)?.(body) }).toEqual({ type, valid })
        expect(validators.get(type)?.({ ...(body as object), clientHlc: 5, serverHlc: 5 })).toBe(false)
      }
    },
  )

  it('[VE5] they refuse wrong types, missing fields and numbers beyond their limits', () => {
    const [op] = inFrames('messages').filter(({ name }) => name === 'CLIENT_OP')
    const payload = (op as unknown as { message: { payload: Record<string, unknown> } }).message.payload
    const isValid = (message: unknown): boolean => validators.get('CLIENT_OP')?.(message) === true
    expect(isValid({ type: 'CLIENT_OP', payload, extra: 1 })).toBe(true)
    for (const broken of [
      { key: 5 },
      { key: '' },
      { key: 'x'.repeat(513) },
      { record: undefined },
      { opType: 'NOPE' },
      { writeConcern: 'SURE' },
      { timeout: 0 },
      { record: { value: 1, timestamp: { millis: -1, counter: 0, nodeId: '' } } },
    ]) {
      const message: unknown = JSON.parse(JSON.stringify({ type: 'CLIENT_OP', payload: { ...payload, ...broken } }))
      expect({ broken, valid: isValid(message) }).toEqual({ broken, valid: false })
    }
    expect(bundle({ type: 'NOPE' })).toBe(false)
    const leaves = validators.get('SYNC_TRIE_RESP')
    const reply = { type: 'SYNC_TRIE_RESP', payload: { mapName: 'm', digest: '0'.repeat(16), leaves: [0] } }
    expect(leaves?.(reply)).toBe(false)
  })

  it('[VE5] none is stricter than a server: what it accepts in the shape it is sent in is valid', () => {
    const inShape = inFrames('accepted-messages').filter(({ name }) => !/ (?:in|without) a payload$/.test(name))
    expect(inShape.length).toBeGreaterThan(5)
    for (const { message } of inFrames('messages')) expect(bundle({ ...message, unknown: [1] })).toBe(true)
  })
})

describe('the AsyncAPI document', () => {
  const document = readJson('schemas/asyncapi.json')

  it('[VE5] is valid under the schema that AsyncAPI publishes', () => {
    const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false })
    const validate = ajv.compile(asyncApiSchema)
    expect({ valid: validate(document), errors: validate.errors }).toEqual({ valid: true, errors: null })
    expect(validate({ ...document, channels: 5 })).toBe(false)
  })

  it('[VE5] has no reference that leads nowhere', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path = '']) => path)
    expect(references.length).toBeGreaterThan(100)
    const lost = references.filter((path) => {
      let at: unknown = document
      for (const part of path.split('/')) at = (at as Record<string, unknown> | undefined)?.[part]
      return at === undefined
    })
    expect(lost).toEqual([])
  })

  it('[VE5] has an operation for each message, and examples that fit', () => {
    const operations = JSON.stringify(document['operations'])
    for (const { type } of [...entries, ...bodies]) expect(operations).toContain(`messages/${type}"`)
    const ajv = new Ajv2020({ allowUnionTypes: true })
    const { messages } = document['components'] as { messages: Record<string, { examples: { payload: unknown }[] }> }
    for (const [type, { examples }] of Object.entries(messages)) {
      const validate = ajv.compile({ ...readJson(`schemas/${type}.json`), $id: type })
      expect({ type, valid: validate(examples[0]?.payload) }).toEqual({ type, valid: true })
    }
  })
})
