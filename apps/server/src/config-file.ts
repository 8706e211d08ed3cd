import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { basename, extname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { findNodeAtLocation, parseTree, printParseErrorCode, type Node, type ParseError } from 'jsonc-parser'

/** The names that are looked for where no file is named, in this order. */
export const DEFAULT_FILES: readonly string[] = ['ts', 'js', 'mjs', 'json'].map((end) => `syncline.config.${end}`)

/** A configuration file that was read. */
export interface ConfigFile {
  /** Its path as it was named. */
  readonly path: string
  readonly values: Readonly<Record<string, unknown>>
  /** `path:line` of a setting, or `path` where the line is not known. */
  at(setting: readonly (string | number)[]): string
}

/** A file that cannot be read: a sentence that begins with its path, and line and column where they are known. */
export class ConfigFileError extends Error {
  override readonly name = 'ConfigFileError'
}

/** Reads a configuration file. Throws `ConfigFileError`. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  const text = readText(path)
  const end = extname(path)
  if (end === '.json') return readJson(path, text)
  if (end === '.ts' || end === '.mts' || end === '.js' || end === '.mjs') return readModule(path, text, end)
  throw new ConfigFileError(
    `${path}: a file that ends in "${end}" is not understood: give a .ts, .js, .mjs or .json file.`,
  )
}

function readText(path: string): string {
  try {
    if (statSync(path).isDirectory()) throw new ConfigFileError(`${path} is a folder: name the file in it.`)
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof ConfigFileError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw new ConfigFileError(`${path} does not exist: check --config or SYNCLINE_CONFIG.`)
    if (code === 'EACCES') throw new ConfigFileError(`${path} may not be read by this user: change its permissions.`)
    throw new ConfigFileError(`${path} cannot be read: ${message}.`)
  }
}

function readJson(path: string, source: string): ConfigFile {
  const text = source.replace(/^\uFEFF/, ' ')
  const errors: ParseError[] = []
  const tree = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false, allowEmptyContent: false })
  const [first] = errors
  if (first !== undefined || tree === undefined) {
    const { line, column } = positionAt(text, first?.offset ?? 0)
    const words = first === undefined ? 'it is empty' : jsonProblem(printParseErrorCode(first.error))
    throw new ConfigFileError(`${path}:${line}:${column}: this is not valid JSON: ${words}.`)
  }
  const again = repeatedKey(tree)
  if (again !== undefined) {
    const { line } = positionAt(text, again.offset)
    throw new ConfigFileError(`${path}:${line}: ${String(again.value)} is set for the second time: remove one of them.`)
  }
  return {
    path,
    values: settingsIn(path, JSON.parse(text) as unknown),
    at(setting) {
      const node = findNodeAtLocation(tree, [...setting])
      if (node === undefined) return path
      const { offset } = node.parent?.type === 'property' ? node.parent : node
      return `${path}:${positionAt(text, offset).line}`
    },
  }
}

/** The first key that stands in its object twice: of the two values, one would silently do nothing. */
function repeatedKey(node: Node): Node | undefined {
  const seen = new Set<unknown>()
  for (const child of node.children ?? []) {
    const [key] = child.type === 'property' ? (child.children ?? []) : []
    if (key !== undefined && seen.has(key.value)) return key
    seen.add(key?.value)
    const within = repeatedKey(child)
    if (within !== undefined) return within
  }
  return undefined
}

const JSON_PROBLEMS: Readonly<Record<string, string>> = {
  CommaExpected: 'a comma is missing before this',
  ColonExpected: 'a colon is missing before this',
  CloseBraceExpected: 'a closing } is missing',
  CloseBracketExpected: 'a closing ] is missing',
  PropertyNameExpected: 'a name in double quotes is expected here (a comma after the last entry is not allowed)',
  ValueExpected: 'a value is expected here (a comma after the last entry is not allowed)',
  InvalidSymbol: 'text must stand in double quotes',
  InvalidCommentToken: 'comments are not allowed; a .js or .ts file may have them',
  EndOfFileExpected: 'the file goes on after its end',
  UnexpectedEndOfString: 'a closing double quote is missing',
  InvalidEscapeCharacter: 'this escape is unknown; write a backslash as \\\\',
  InvalidNumberFormat: 'this is no number',
}

function jsonProblem(code: string): string {
  return JSON_PROBLEMS[code] ?? code.replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

async function readModule(path: string, text: string, end: string): Promise<ConfigFile> {
  if (end.endsWith('ts') && process.features.typescript === false) {
    throw new ConfigFileError(
      `${path}: Node ${process.versions.node} does not read TypeScript: use Node 22.18 or later, or write the file as .js.`,
    )
  }
  const url = pathToFileURL(resolve(path)).href
  try {
    const module = await untilIdle(path, import(url) as Promise<{ readonly default?: unknown }>)
    if (module.default === undefined) {
      throw new ConfigFileError(`${path} has no default export: begin its object with "export default {".`)
    }
    // Copied here, so that a getter that throws is a problem of the file.
    return { path, values: { ...settingsIn(path, module.default) }, at: (setting) => atKey(path, text, setting) }
  } catch (error) {
    if (error instanceof ConfigFileError) throw error
    throw new ConfigFileError(moduleProblem(path, url, text, error), { cause: error })
  }
}

/** What is loaded, or an error where nothing is left to do and it is not: Node would end, with code 0 and no word. */
async function untilIdle<T>(path: string, loading: Promise<T>): Promise<T> {
  let giveUp = (): void => {}
  const idle = new Promise<never>((_, reject) => {
    giveUp = () => reject(new ConfigFileError(`${path} waits for something that never comes: look at its awaits.`))
    process.once('beforeExit', giveUp)
  })
  try {
    return await Promise.race([loading, idle])
  } finally {
    process.removeListener('beforeExit', giveUp)
  }
}

function moduleProblem(path: string, url: string, text: string, error: unknown): string {
  if (!(error instanceof Error)) return `${path}: loading the file failed: it throws ${String(error)}.`
  const { code, message, stack = '' } = error as NodeJS.ErrnoException
  const words =
    message
      .split(/\n|\. /)[0]
      ?.trim()
      .replace(/\.$/, '') ?? ''
  if (code === 'ERR_MODULE_NOT_FOUND') {
    const missing = /^Cannot find (?:module|package) '([^']+)'/.exec(words)?.[1] ?? ''
    const line = text
      .split('\n')
      .findIndex((each) => /\b(?:from|import)\b/.test(each) && each.includes(basename(missing)))
    return `${line < 0 ? path : `${path}:${line + 1}`}: ${missing} is imported and not there: install it, or correct the import.`
  }
  if (error instanceof SyntaxError) {
    // Node keeps the place of an error in a module's syntax to itself, but tells it when it is asked to check the file.
    const check = checkSyntax(path)
    const place = placeIn(stack, path, url) ?? placeIn(check, path, url)
    if (place === undefined && check === '') return `${path}: the syntax of a file that it imports is wrong: ${words}.`
    return `${place ?? path}: the syntax is wrong: ${words}.`
  }
  return `${placeIn(stack, path, url) ?? path}: loading the file failed: ${words}.`
}

function checkSyntax(path: string): string {
  return spawnSync(process.execPath, ['--check', resolve(path)], { encoding: 'utf8' }).stderr
}

/** Where a stack first names the file, if it does. */
function placeIn(stack: string, path: string, url: string): string | undefined {
  for (const name of [url, fileURLToPath(url)]) {
    const from = stack.indexOf(`${name}:`)
    const found = from < 0 ? null : /^:(\d+)(?::(\d+))?/.exec(stack.slice(from + name.length))
    if (found !== null) return [path, ...found.slice(1).filter(Boolean)].join(':')
  }
  return undefined
}

function settingsIn(path: string, value: unknown): Readonly<Record<string, unknown>> {
  if (isPlainObject(value)) return value
  const kind = Array.isArray(value) ? 'a list' : value === null ? 'null' : `a ${typeName(value)}`
  throw new ConfigFileError(`${path} holds ${kind}: give an object of settings, as in { "port": 8080 }.`)
}

/** False for promises, maps and their like, whose entries are not where settings are looked for. */
function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

const typeName = (value: unknown): string =>
  typeof value === 'object' ? Object.prototype.toString.call(value).slice('[object '.length, -1) : typeof value

/** Looks for the keys of a setting one after the other, as text. */
function atKey(path: string, text: string, setting: readonly (string | number)[]): string {
  let offset = 0
  for (const key of setting) {
    if (typeof key === 'number') continue
    const name = key.replaceAll(/[^\w$]/g, '\\$&')
    const found = new RegExp(`(?<![\\w$])["']?${name}["']?\\s*(?::|,|\\})`).exec(text.slice(offset))
    if (found === null) return path
    offset += found.index
  }
  return `${path}:${positionAt(text, offset).line}`
}

function positionAt(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset)
  return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') }
}
