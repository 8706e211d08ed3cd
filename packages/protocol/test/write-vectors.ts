import { writeFileSync } from 'node:fs'
import { buildVectors, vectorText } from './vectors.ts'

for (const file of buildVectors()) {
  writeFileSync(new URL(`../vectors/${file.name}.json`, import.meta.url), vectorText(file))
}
