import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { jsonSchemas } from '../src/json-schema.ts'
import { VERSION_HISTORY } from '../src/version.ts'
import { buildDocuments } from './documents/documents.ts'
import { buildVectors, vectorText } from './vectors.ts'

// Everything is computed before anything is deleted: what cannot be computed leaves the files as they are.
const files = [
  ...buildVectors().map((file) => ({ path: `vectors/${file.name}.json`, text: vectorText(file) })),
  ...buildDocuments(),
]
const root = fileURLToPath(new URL('../', import.meta.url))
for (const folder of ['vectors', 'schemas']) {
  mkdirSync(`${root}${folder}`, { recursive: true })
  for (const path of readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.json')) rmSync(`${root}${folder}/${path}`)
  }
}
// Until the first release there is one version, and its hash follows the schemas; after that a change is a row of its own.
if (VERSION_HISTORY.length === 1) {
  const hash = createHash('sha256').update(JSON.stringify(jsonSchemas())).digest('hex').slice(0, 16)
  const source = readFileSync(`${root}src/version.ts`, 'utf8')
  writeFileSync(`${root}src/version.ts`, source.replace(/(?<=schemaHash: ')[0-9a-f]{16}(?=')/, hash))
}
for (const { path, text } of files) {
  mkdirSync(dirname(`${root}${path}`), { recursive: true })
  writeFileSync(`${root}${path}`, text)
}
