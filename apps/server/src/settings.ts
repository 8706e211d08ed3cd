import { closest } from './suggest.ts'

/** Something that can be set, declared here once: flags, environment, file, help and README derive from it. */
export interface Setting {
  /** Its key in the configuration file, the option's name in `createServer` where it is one. */
  readonly name: SettingName
  readonly env: string
  /** Older names, read where the first is not set. */
  readonly aliases?: readonly string[]
  /** Its flag, with the placeholder of its value. */
  readonly flag: string
  readonly description: string
  /** What holds where nothing is set, as it would be written. */
  readonly default?: string
  /** The flag, and a second environment name that ends in `_FILE`, name a file that holds the value. */
  readonly isSecret?: true
  /** Turns text into the value. Throws `Unusable`. */
  readonly parse: (text: string) => unknown
}

/** The settings that the command reads itself; the file may hold more, for `createServer`. */
export type SettingName = 'port' | 'host' | 'storage' | 'auth' | 'jwtSecret' | 'logLevel'

/** A value that cannot be used: what it should be instead. */
export class Unusable extends Error {
  override readonly name = 'Unusable'
}

/** Where records are kept. */
export type StorageSetting = { readonly kind: 'memory' } | { readonly kind: 'sqlite'; readonly path: string }

const LOG_LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error']

export const settings: readonly Setting[] = [
  {
    name: 'port',
    env: 'PORT',
    flag: '--port <n>',
    description: 'TCP port to listen on; 0 takes any free one.',
    default: '8080',
    parse(text) {
      const port = /^\d{1,5}$/.test(text.trim()) ? Number(text) : -1
      if (port < 0 || port > 65_535) throw new Unusable('give a whole number from 0 to 65535')
      return port
    },
  },
  {
    name: 'host',
    env: 'HOST',
    flag: '--host <address>',
    description: 'Address to listen on; 127.0.0.1 is reached from this machine only.',
    default: '0.0.0.0',
    parse(text) {
      if (!/^[\w.:-]+$/.test(text.trim()))
        throw new Unusable('give an address or name of this machine, such as 127.0.0.1')
      return text.trim()
    },
  },
  {
    name: 'storage',
    env: 'SYNCLINE_STORAGE',
    flag: '--storage <where>',
    description: 'Where records are kept: sqlite:<path>, or memory (gone at the end).',
    default: 'sqlite:./data/syncline.db',
    parse: parseStorage,
  },
  {
    name: 'auth',
    env: 'SYNCLINE_AUTH',
    flag: '--auth <how>',
    description: 'How clients say who they are: jwt, or none (anyone may read and write everything).',
    default: 'jwt',
    parse(text) {
      if (text !== 'jwt' && text !== 'none') throw new Unusable('give jwt or none')
      return text
    },
  },
  {
    name: 'jwtSecret',
    env: 'SYNCLINE_JWT_SECRET',
    flag: '--secret-file <path>',
    description: 'File with the secret that tokens are signed with (HS256), at least 32 characters.',
    isSecret: true,
    parse(text) {
      const secret = text.trim()
      if (secret === '') throw new Unusable('it is empty: give a random text of at least 32 characters')
      return secret
    },
  },
  {
    name: 'logLevel',
    env: 'SYNCLINE_LOG',
    aliases: ['RUST_LOG'],
    flag: '--log <level>',
    description: `What is told on stderr: ${LOG_LEVELS.join(', ')}. debug shows stacks.`,
    default: 'info',
    parse: parseLogLevel,
  },
]

/** The flag and environment name of the file that holds settings. */
export const configSetting = {
  env: 'SYNCLINE_CONFIG',
  flag: '--config <path>',
  description: 'Configuration file: .ts, .js, .mjs or .json.',
  default: 'syncline.config.* in this folder, if there is one',
} as const

/** Every `SYNCLINE_` name of the environment that means something. */
export const environmentNames: readonly string[] = [
  ...settings.flatMap(({ env, isSecret }) => (isSecret === true ? [env, `${env}_FILE`] : [env])),
  configSetting.env,
]

/** The flag of a setting without its placeholder. */
export const flagOf = (setting: Setting): string => setting.flag.split(' ')[0] as string

function parseStorage(text: string): StorageSetting {
  if (text === 'memory') return { kind: 'memory' }
  if (text.startsWith('sqlite:')) {
    const path = text.slice('sqlite:'.length)
    if (path.trim() === '' || path.includes('\0'))
      throw new Unusable('name the file after sqlite:, as in sqlite:./data/syncline.db')
    if (path === ':memory:') throw new Unusable('give memory for records that are gone at the end, or name a file')
    return { kind: 'sqlite', path }
  }
  if (/^postgres(?:ql)?:/.test(text)) {
    throw new Unusable('PostgreSQL is not offered yet: give sqlite:<path> or memory')
  }
  const nearest = closest(text.split(':')[0] ?? '', ['sqlite', 'memory'])
  throw new Unusable(`give sqlite:<path> or memory${nearest === undefined ? '' : `; did you mean ${nearest}?`}`)
}

/** A level, or what other servers take in RUST_LOG: directives `[target=]level`, of which the most talkative counts. */
function parseLogLevel(text: string): string {
  const levels = text.split(',').map((directive) => {
    const word = directive
      .slice(directive.indexOf('=') + 1)
      .trim()
      .toLowerCase()
    return { trace: 'debug', warning: 'warn', off: 'error' }[word] ?? word
  })
  if (levels.some((level) => !LOG_LEVELS.includes(level))) throw new Unusable(`give ${LOG_LEVELS.join(', ')}`)
  return LOG_LEVELS.find((level) => levels.includes(level)) as string
}
