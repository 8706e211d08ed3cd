import { createServer, nodeEnv, OptionsError, type ServerOptions, type SynclineServer } from '@syncline/server'
import type { StorageAdapter } from '@syncline/storage'
import type { Config } from './config.ts'
import { CommandError, endWith, EXIT, toCommandError, toStopError } from './failures.ts'
import type { StorageSetting } from './settings.ts'

/** What the process exits with when a signal has to be sent twice: 128 and the signal's number. */
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** A server that listens. */
export interface Running {
  readonly server: SynclineServer
  /** Narrates on stderr. */
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, details?: Record<string, unknown>) => void
}

/**
 * Starts a server and ties it to the process: signals and a parent that goes away stop it, the line `PORT=<n>` on
 * stdout says that it listens, and `tellReady` says more. Throws `CommandError` with every problem of the configuration.
 */
export async function run(config: Config, own: ServerOptions, tellReady: (running: Running) => void): Promise<void> {
  const { host, port } = config
  const address = { host: own.host ?? host, port: own.port ?? port }
  const env = nodeEnv(config.logLevel)
  const log: Running['log'] = (level, message, details) => env.log(level, message, details)
  const end = (error: unknown): never => endWith(toCommandError(error, address), config.logLevel === 'debug')
  const server = create(config, {
    ...config.options,
    ...address,
    logLevel: config.logLevel,
    env,
    storage: await openStorage(config.storage),
    onFatal: end,
    ...own,
  })
  for (const warning of config.warnings) log('warn', warning)
  endOnFailures(end)
  const stopping = stopOnRequest(server, log, end)
  try {
    await server.ready()
  } catch (error) {
    await server.shutdown().catch(() => {})
    throw toCommandError(error, address)
  }
  // It may have been asked to stop meanwhile; then nobody is told to come.
  if (stopping()) return
  process.stdout.write(`PORT=${server.port}\n`)
  tellReady({ server, log })
}

function create(config: Config, options: ServerOptions): SynclineServer {
  const problems = [...config.problems]
  try {
    const server = createServer(options)
    if (problems.length === 0) return server
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    problems.push(...config.locate(error.problems))
  }
  throw new CommandError(EXIT.config, problems)
}

async function openStorage(setting: StorageSetting): Promise<StorageAdapter> {
  if (setting.kind === 'memory') {
    const { memoryStorage } = await import('@syncline/storage')
    return memoryStorage()
  }
  const { sqliteStorage } = await import('@syncline/storage/sqlite')
  return sqliteStorage({ path: setting.path })
}

/** Stops on a signal, or when whoever started the process over a channel is gone. A second signal ends it at once. */
function stopOnRequest(server: SynclineServer, log: Running['log'], end: (error: unknown) => never): () => boolean {
  let isStopping = false
  let wasSignalled = false
  const stop = (why: string): void => {
    if (isStopping) return
    isStopping = true
    log('info', `${why}: the server finishes what is under way. A second signal ends it at once.`)
    server.shutdown().then(
      () => process.exit(0),
      (error: unknown) => end(toStopError(error)),
    )
  }
  for (const [signal, exitCode] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (wasSignalled) process.exit(exitCode)
      wasSignalled = true
      stop(signal)
    })
  }
  process.on('disconnect', () => stop('The process that started this one is gone'))
  return () => isStopping
}

function endOnFailures(end: (error: unknown) => never): void {
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}
