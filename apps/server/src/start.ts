import { readConfig, type Config, type Flags } from './config.ts'
import { run } from './run.ts'
import type { SettingName } from './settings.ts'

/** The settings that `syncline start` reads: all of them. */
export const startSettings: readonly SettingName[] = ['port', 'host', 'storage', 'auth', 'jwtSecret', 'logLevel']

/** `syncline start`: a server for production. */
export async function start(flags: Flags, environment: NodeJS.ProcessEnv = process.env): Promise<void> {
  const config = withSecret(await readConfig(startSettings, flags, environment))
  const { auth, jwtSecret } = config
  const own = { auth, ...(jwtSecret === undefined ? {} : { jwtSecret }) }
  await run(config, own, ({ server, log }) => {
    log('info', 'The server is ready', { host: config.host, port: server.port, storage: nameOf(config) })
  })
}

/** A missing secret is told in the words of the command line, not of `createServer`. */
function withSecret(config: Config): Config {
  if (config.auth === 'none' || config.jwtSecret !== undefined) return config
  const isTold =
    !config.isComplete ||
    config.problems.some((problem) => problem.includes('SYNCLINE_JWT_SECRET') || problem.includes('--secret-file'))
  const problem =
    'no secret is set, and anybody could sign in: put a random text of at least 32 characters (openssl rand -base64 32) into a file for --secret-file or into SYNCLINE_JWT_SECRET, or run without authentication by --auth none.'
  return {
    ...config,
    problems: isTold ? config.problems : [...config.problems, problem],
    locate: (problems) => config.locate(problems.filter((each) => !each.startsWith('jwtSecret is missing'))),
  }
}

const nameOf = ({ storage }: Config): string => (storage.kind === 'memory' ? 'memory' : storage.path)
