import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Every file of the repository that git tracks or would track, as paths from the root. */
export const files: readonly string[] = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard'],
  {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  },
)
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(root, path)) && statSync(join(root, path)).isFile())
  .toSorted()

export const filesLike = (pattern: RegExp): readonly string[] => files.filter((path) => pattern.test(path))

/** True where the path, from the root, is a file or a folder of the repository. */
export const exists = (path: string): boolean =>
  path === '' || files.includes(path) || files.some((file) => file.startsWith(`${path.replace(/\/$/, '')}/`))

export const read = (path: string): string => readFileSync(join(root, path), 'utf8')

export interface Manifest {
  readonly name?: string
  readonly private?: boolean
  readonly license?: string
  readonly description?: string
  readonly scripts?: Readonly<Record<string, string>>
  readonly exports?: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly files?: readonly string[]
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

export const readManifest = (path: string): Manifest => JSON.parse(read(path)) as Manifest

export interface Member {
  readonly folder: string
  readonly manifest: Manifest
}

/** The packages of the workspace, the root left out. */
export const members: readonly Member[] = filesLike(
  /^(?:(?:packages|apps|examples|tests|tooling)\/[^/]+|bench)\/package\.json$/,
).map((path) => ({ folder: path.slice(0, -'/package.json'.length), manifest: readManifest(path) }))

export const isPublished = ({ manifest }: Member): boolean => manifest.private !== true

const titlePattern =
  /(?:\b(?:test|it)(?:\.(?!skip|todo|fails)\w+)*|\))\s*\(\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`)/g

/** The titles of the tests in a file, as they are written there; skipped ones do not count. */
export const testTitles = (path: string): readonly string[] =>
  [...read(path).matchAll(titlePattern)].map(([, single, double, template]) =>
    (single ?? double ?? template ?? '').replaceAll(/\\(['"`\\])/g, '$1'),
  )

/** What is wrong with a citation of the form `path › title`, or undefined. */
export function problemOfCitation(citation: string): string | undefined {
  const [path = '', title = '', ...rest] = citation.replaceAll('`', '').split(' › ')
  if (title === '' || rest.length > 0) return `"${citation}" is not of the form "path › title"`
  if (!files.includes(path)) return `${path} is not a file of this repository`
  if (!testTitles(path).includes(title)) return `${path} has no test "${title}"`
  return undefined
}

/** A problem with its place, in the form in which editors open it. */
export const at = (path: string, lineNumber: number, problem: string): string => `${path}:${lineNumber} ${problem}`
