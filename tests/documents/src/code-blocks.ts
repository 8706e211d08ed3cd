import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** One piece of TypeScript in a document. */
export interface CodeBlock {
  /** Path of the document from the root, and the line of the block. */
  readonly place: string
  readonly code: string
  /** What the comments behind its calls of `console.log` say that it prints, in order. */
  readonly prints: readonly string[]
}

/** Every piece of TypeScript in the documents of the repository. */
export const codeBlocks: readonly CodeBlock[] = execFileSync('git', ['ls-files', '*.md'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && !path.includes('CHANGELOG'))
  .flatMap(blocksOf)

function blocksOf(path: string): CodeBlock[] {
  const text = readFileSync(`${ROOT}/${path}`, 'utf8')
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(({ 1: code = '', index }) => ({
    place: `${path}:${text.slice(0, index).split('\n').length}`,
    code,
    prints: [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].flatMap(([, output = '']) => output.split(', then ')),
  }))
}
