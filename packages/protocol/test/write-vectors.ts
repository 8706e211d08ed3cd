import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildVectors, vectorText } from './vectors.ts'

// Computed before anything is deleted: what cannot be computed leaves the files as they are.
const files = buildVectors()
const folder = fileURLToPath(new URL('../vectors/', import.meta.url))
for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
  if (path.endsWith('.json')) rmSync(`${folder}${path}`)
}
for (const file of files) {
  const path = `${folder}${file.name}.json`
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, vectorText(file))
}
