import { existsSync, readFileSync } from 'node:fs'
import type { ServerOptions } from '@syncline/server'
import { ConfigFileError, DEFAULT_FILES, readConfigFile, type ConfigFile } from './config-file.ts'
import {
  configSetting,
  environmentNames,
  flagOf,
  settings,
  Unusable,
  type Setting,
  type SettingName,
  type StorageSetting,
} from './settings.ts'
import { closest } from './suggest.ts'

/** What the command line gave, by the names of settings, and the file. Not set: undefined. */
export interface Flags extends Readonly<Partial<Record<SettingName | 'config', string>>> {}

/** Text that was set, and what to call the place where it was. */
interface Given {
  readonly text: string
  readonly origin: string
}

/** What flags, environment, file and defaults say together, and everything that is wrong with it. */
export interface Config {
  readonly port: number
  readonly host: string
  readonly storage: StorageSetting
  readonly auth: 'jwt' | 'none'
  readonly jwtSecret: string | undefined
  readonly logLevel: NonNullable<ServerOptions['logLevel']>
  /** What the file holds for `createServer` beside these. */
  readonly options: ServerOptions
  readonly problems: readonly string[]
  /** False where there is a file that could not be read: what it sets is not known. */
  readonly isComplete: boolean
  /** What does no harm and is probably not meant. */
  readonly warnings: readonly string[]
  /** True where neither flag, environment nor file sets it. */
  isDefault(name: SettingName): boolean
  /** The problems of `OptionsError`, each with the place of what it is about. */
  locate(problems: readonly string[]): readonly string[]
}

/** Members of the server's options that are not for a file. */
const NOT_IN_FILES: ReadonlySet<string> = new Set(['listen', 'env', 'onFatal', 'onRequest'])

/** Collects the settings that `names` lists; flag goes before environment, environment before file, file before default. */
export async function readConfig(
  names: readonly SettingName[],
  flags: Flags,
  environment: NodeJS.ProcessEnv,
  defaults: Readonly<Partial<Record<SettingName, string>>> = {},
): Promise<Config> {
  const problems: string[] = []
  const warnings: string[] = []
  checkEnvironment(environment, problems, warnings)
  const toldBefore = problems.length
  const file = await openFile(flags, environment, problems)
  const isComplete = problems.length === toldBefore

  const values: Partial<Record<SettingName, unknown>> = {}
  const origins = new Map<string, string>()
  for (const setting of settings) {
    const given = names.includes(setting.name) ? find(setting, flags, environment, file, problems) : undefined
    if (given !== undefined) origins.set(setting.name, given.origin)
    const text = given?.text ?? defaults[setting.name] ?? setting.default
    if (text === undefined) continue
    try {
      values[setting.name] = setting.parse(text)
    } catch (error) {
      if (!(error instanceof Unusable)) throw error
      const what =
        setting.isSecret === true ? 'the secret cannot be used' : `${setting.name} is ${JSON.stringify(text)}`
      problems.push(`${given?.origin ?? setting.name}: ${what}: ${error.message}.`)
      if (setting.default !== undefined) values[setting.name] = setting.parse(setting.default)
    }
  }

  const options: Record<string, unknown> = { ...file?.values }
  for (const { name } of settings) delete options[name]
  for (const name of NOT_IN_FILES) {
    if (!(name in options)) continue
    problems.push(
      `${file?.at([name])}: ${name} is no setting of a file: remove it, or call createServer in a program of your own.`,
    )
    delete options[name]
  }
  return {
    ...(values as Pick<Config, 'port' | 'host' | 'storage' | 'auth' | 'logLevel'>),
    jwtSecret: values.jwtSecret as string | undefined,
    options,
    problems,
    isComplete,
    warnings,
    isDefault: (name) => !origins.has(name),
    locate: (found) => found.map((problem) => locate(problem, file, origins)),
  }
}

async function openFile(
  flags: Flags,
  environment: NodeJS.ProcessEnv,
  problems: string[],
): Promise<ConfigFile | undefined> {
  const named = flags.config ?? (environment[configSetting.env] || undefined)
  const path = named ?? DEFAULT_FILES.find((name) => existsSync(name))
  if (path === undefined) return undefined
  try {
    return await readConfigFile(path)
  } catch (error) {
    if (!(error instanceof ConfigFileError)) throw error
    problems.push(error.message)
    return undefined
  }
}

function find(
  setting: Setting,
  flags: Flags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | undefined,
  problems: string[],
): Given | undefined {
  const flag = flags[setting.name]
  if (flag !== undefined) {
    return setting.isSecret === true
      ? readSecret(flag, flagOf(setting), problems)
      : { text: flag, origin: flagOf(setting) }
  }
  const fromEnvironment = findInEnvironment(setting, environment, problems)
  if (fromEnvironment !== undefined) return fromEnvironment
  const value = file?.values[setting.name]
  if (value === undefined || file === undefined) return undefined
  const origin = file.at([setting.name])
  if (typeof value === 'string' || typeof value === 'number') return { text: String(value), origin }
  problems.push(
    `${origin}: ${setting.name} is ${describe(value)}: give text${setting.name === 'port' ? ' or a number' : ''}.`,
  )
  return undefined
}

function findInEnvironment(
  { env, aliases = [], isSecret }: Setting,
  environment: NodeJS.ProcessEnv,
  problems: string[],
): Given | undefined {
  const name = [env, ...aliases].find((each) => (environment[each] ?? '') !== '')
  const fileName = `${env}_FILE`
  const path = isSecret === true ? environment[fileName] : undefined
  if (name !== undefined && path) problems.push(`${env} and ${fileName} are both set: keep one of them.`)
  if (name !== undefined) return { text: environment[name] as string, origin: name }
  return path ? readSecret(path, fileName, problems) : undefined
}

function readSecret(path: string, origin: string, problems: string[]): Given | undefined {
  try {
    return { text: readFileSync(path, 'utf8'), origin: `${origin} (${path})` }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const cause =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EACCES'
          ? 'may not be read by this user'
          : `cannot be read (${message})`
    problems.push(`${origin}: the file ${path} ${cause}: name a file that holds the secret.`)
    return undefined
  }
}

/** A name that is nearly one of ours would silently do nothing. */
function checkEnvironment(environment: NodeJS.ProcessEnv, problems: string[], warnings: string[]): void {
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('SYNCLINE_') || environmentNames.includes(name)) continue
    const suffix = name.slice('SYNCLINE_'.length)
    const nearest = closest(
      suffix,
      environmentNames.filter((each) => each.startsWith('SYNCLINE_')).map((each) => each.slice('SYNCLINE_'.length)),
    )
    if (nearest === undefined) warnings.push(`${name} is set in the environment, and means nothing to this version.`)
    else problems.push(`${name}, set in the environment, is no setting: did you mean SYNCLINE_${nearest}?`)
  }
}

/** Puts the place of what a problem of `createServer` is about before it. Such a problem begins with the option's path. */
function locate(problem: string, file: ConfigFile | undefined, origins: ReadonlyMap<string, string>): string {
  const [path = '', name = ''] = /^([\w$-]+)(?:\.[\w$-]+)*/.exec(problem) ?? []
  const steps = path.split('.').map((step) => (/^\d+$/.test(step) ? Number(step) : step))
  const isInFile = file !== undefined && name in file.values && !origins.has(name)
  const place = isInFile ? whereIn(file, steps) : origins.get(name)
  const suggestion = problem.endsWith(' is no option')
    ? closest(
        name,
        settings.map((each) => each.name),
      )
    : undefined
  const sentence = suggestion === undefined ? problem : `${problem}; did you mean ${suggestion}?`
  return `${place === undefined ? '' : `${place}: `}${sentence.replace(/(?<![.?!])$/, '.')}`
}

/** The place of a setting in the file, or of the nearest one that holds it. */
function whereIn(file: ConfigFile, steps: readonly (string | number)[]): string {
  for (let length = steps.length; length > 0; length--) {
    const place = file.at(steps.slice(0, length))
    if (place !== file.path) return place
  }
  return file.path
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'boolean' ? String(value) : `of type ${typeof value}`
}
