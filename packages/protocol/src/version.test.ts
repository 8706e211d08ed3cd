import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { ERRORS, wireError } from './errors.ts'
import { jsonSchemas } from './json-schema.ts'
import { OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, VERSION_HISTORY } from './version.ts'

it('[VE1] the wire does not change without a row in the history of versions', () => {
  const hash = createHash('sha256').update(JSON.stringify(jsonSchemas())).digest('hex').slice(0, 16)
  const latest = VERSION_HISTORY.at(-1)
  expect(latest?.version).toBe(PROTOCOL_VERSION)
  expect(
    latest?.schemaHash,
    'The schemas changed. Before the first release `pnpm generate` sets the hash; after it, add a version with its reason.',
  ).toBe(hash)
})

it('[VE2] versions rise by one, and the oldest accepted one is among them', () => {
  VERSION_HISTORY.forEach((row, i) => expect(row.version).toBe(i + 1))
  expect(VERSION_HISTORY.some((row) => row.version === OLDEST_PROTOCOL_VERSION)).toBe(true)
})

it('[ER1] every code has a status of HTTP and one sentence with cause and remedy', () => {
  for (const [code, { status, help }] of Object.entries(ERRORS)) {
    expect(code).toMatch(/^[A-Z]+(?:_[A-Z]+)*$/)
    expect(status >= 400 && status < 600).toBe(true)
    expect(help).toMatch(/^[A-Z].+[;,] .+\.$|^[A-Z].+\.$/)
  }
})

it('[ER2] an error says its code, the sentence of the table or a better one, and details where there are any', () => {
  expect(wireError('STALE')).toEqual({ errorCode: 'STALE', message: ERRORS.STALE.help })
  expect(wireError('STALE', 'Too old.', { key: 'k' })).toEqual({
    errorCode: 'STALE',
    message: 'Too old.',
    details: { key: 'k' },
  })
})
