import { readFileSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { decodeFrame } from '../src/codec/frame.ts'
import { clientMessageSchemas, serverMessageSchemas } from '../src/message.schema.ts'
import { readClientMessage } from '../src/read/client-message.ts'
import { readServerMessage } from '../src/read/server-message.ts'
import { buildVectors, fromVector, vectorText } from './vectors.ts'

interface Vector {
  readonly name: string
  readonly rules: string
  readonly json: string
  readonly msgpack: string
  readonly errorCode: string | null
}

const folder = new URL('../vectors/', import.meta.url)
const stored = (name: string): readonly Vector[] =>
  JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as readonly Vector[]

describe('golden vectors', () => {
  it.each(buildVectors())('[VE3] $name.json is what this code computes; `pnpm vectors` writes it anew', (file) => {
    expect(vectorText(file)).toBe(readFileSync(new URL(`${file.name}.json`, folder), 'utf8'))
  })

  it('[VE3] there are no other files, and at least 60 vectors', () => {
    const names = readdirSync(folder).filter((name) => name.endsWith('.json'))
    expect(names.sort()).toEqual(
      buildVectors()
        .map(({ name }) => `${name}.json`)
        .sort(),
    )
    expect(buildVectors().flatMap(({ vectors }) => vectors).length).toBeGreaterThan(60)
  })

  it.each(stored('values'))('[FR1] [FR2] $name is the same value in both encodings', ({ json, msgpack }) => {
    expect(fromVector({ json })).toEqual(fromVector({ msgpack }))
  })

  it.each(stored('messages'))(
    '[FR12] [FR15] $name is read from both encodings and loses no member',
    ({ name, json, msgpack }) => {
      const fromJson = decodeFrame(json)
      const fromMsgpack = decodeFrame(Buffer.from(msgpack, 'hex'))
      if (!fromJson.ok || !fromMsgpack.ok) throw new Error('It was refused.')
      expect(fromJson.value.message).toEqual(fromMsgpack.value.message)
      const { message } = fromJson.value
      const schemas: Record<string, (typeof serverMessageSchemas)['PONG'] | undefined> = {
        ...clientMessageSchemas,
        ...serverMessageSchemas,
      } as never
      expect(schemas[name]?.parse(message)).toEqual(message)
      const read = name in clientMessageSchemas ? readClientMessage(message) : readServerMessage(message)
      expect(read).toMatchObject({ ok: true, value: { type: name } })
      expect(JSON.stringify(read)).not.toContain('"refused":{')
    },
  )

  it('[VE3] every type of message has a vector', () => {
    const types = new Set(stored('messages').map(({ name }) => name))
    expect([...types].sort()).toEqual(
      [...Object.keys(clientMessageSchemas), ...Object.keys(serverMessageSchemas)].sort(),
    )
  })

  it.each([...stored('refused-frames'), ...stored('refused-messages')])(
    '[$rules] $name is refused',
    ({ errorCode }) => {
      expect(errorCode).toMatch(/^[A-Z_]+$/)
    },
  )

  it('[VE4] the rules that vectors name are in SPEC.md', () => {
    const spec = readFileSync(new URL('../SPEC.md', import.meta.url), 'utf8')
    for (const { vectors } of buildVectors()) {
      for (const { rules } of vectors as readonly Vector[]) {
        for (const rule of rules.split(' ')) expect(spec).toContain(`**[${rule}]**`)
      }
    }
  })
})
