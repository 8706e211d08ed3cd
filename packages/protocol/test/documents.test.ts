import { existsSync, readFileSync, readdirSync } from 'node:fs'
import asyncApiSchema from '@asyncapi/specs/schemas/3.0.0-without-$id.json' with { type: 'json' }
import { Ajv } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { clientMessageSchemas, serverMessageSchemas } from '../src/message.schema.ts'
import { stored } from './check.ts'
import { buildDocuments, messageEntries } from './documents/documents.ts'
import { messageCases } from './messages/list.ts'

const root = new URL('../', import.meta.url)
const files = buildDocuments()
const entries = messageEntries()
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
    const types = [...Object.keys(clientMessageSchemas), ...Object.keys(serverMessageSchemas)]
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

describe('JSON Schemas, by a validator that knows nothing of Syncline', () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true })
  const validators = new Map(entries.map(({ type }) => [type, ajv.compile(readJson(`schemas/${type}.json`))]))
  const bundle = ajv.compile(readJson('schemas/bundle.json'))

  it.each(inFrames('messages'))(
    '[VE5] $name is valid under its schema, and one kind of message of the bundle',
    ({ message }) => {
      const validate = validators.get(message.type)
      expect({ valid: validate?.(message), errors: validate?.errors }).toEqual({ valid: true, errors: null })
      expect({ valid: bundle(message), errors: bundle.errors }).toEqual({ valid: true, errors: null })
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
    for (const { type } of entries) expect(operations).toContain(`messages/${type}"`)
    const bundle = new Ajv2020({ allowUnionTypes: true }).compile(readJson('schemas/bundle.json'))
    const { messages } = document['components'] as { messages: Record<string, { examples: { payload: unknown }[] }> }
    for (const { examples } of Object.values(messages)) expect(bundle(examples[0]?.payload)).toBe(true)
  })
})
