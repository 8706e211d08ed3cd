import { StorageError } from '@syncline/storage'

/** What the process says with its exit code, by the names of sysexits.h. */
export const EXIT = {
  /** A port that cannot be listened on. */
  unavailable: 69,
  /** A failure that nobody foresaw. */
  software: 70,
  /** A storage that cannot be created, opened or written. */
  cannotCreate: 73,
  /** Flags, environment or configuration file that cannot be used. */
  config: 78,
} as const

/** A reason to end, in sentences for whoever started the command, one for each problem. */
export class CommandError extends Error {
  readonly exitCode: number
  readonly problems: readonly string[]
  constructor(exitCode: number, problems: readonly string[], options?: ErrorOptions) {
    super(problems.join('\n'), options)
    this.name = 'CommandError'
    this.exitCode = exitCode
    this.problems = problems
  }
}

/** Turns whatever was thrown while a server started or ran into a reason to end. */
export function toCommandError(error: unknown, address: { host: string; port: number }): CommandError {
  if (error instanceof CommandError) return error
  if (error instanceof StorageError) {
    const isForeseen = error.fault !== 'io' && error.fault !== 'internal'
    return new CommandError(isForeseen ? EXIT.cannotCreate : EXIT.software, [error.message], { cause: error })
  }
  const { code, syscall, message } = (error ?? {}) as { code?: string; syscall?: string; message?: string }
  if (syscall === 'listen' || syscall === 'getaddrinfo') {
    return new CommandError(...listenProblem(code ?? '', address, message ?? ''), { cause: error })
  }
  const text = error instanceof Error ? error.message : String(error)
  return new CommandError(
    EXIT.software,
    [`the server failed in a way that nobody foresaw: ${text} (SYNCLINE_LOG=debug shows where).`],
    { cause: error },
  )
}

function listenProblem(
  code: string,
  { host, port }: { host: string; port: number },
  message: string,
): [exitCode: number, problems: string[]] {
  switch (code) {
    case 'EADDRINUSE':
      return [
        EXIT.unavailable,
        [`port ${port} on ${host} is in use by another program: stop that one, or choose another with --port or PORT.`],
      ]
    case 'EACCES':
      return [
        EXIT.unavailable,
        [`this user may not listen on port ${port}: choose one above 1023 with --port or PORT.`],
      ]
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return [
        EXIT.config,
        [`${host} is no address of this machine: give one that is with --host or HOST, for example 127.0.0.1.`],
      ]
    default:
      return [EXIT.unavailable, [`the server cannot listen on ${host}, port ${port}: ${message}.`]]
  }
}

/** True where another process has the storage. */
export const isStorageInUse = (error: unknown): boolean =>
  error instanceof StorageError && error.fault === 'unavailable'

/** Why a stop failed: `shutdown` rejects where something may not be stored, and the disk, if it failed, ended it before. */
export function toStopError(error: unknown): CommandError {
  if (error instanceof StorageError) return toCommandError(error, { host: '', port: 0 })
  const text = error instanceof Error ? error.message : String(error)
  return new CommandError(EXIT.cannotCreate, [`the server has stopped, and not all is stored. ${text}`], {
    cause: error,
  })
}

/** Prints why the command ends, and ends it. The stack is shown to those who asked for it. */
export function endWith(error: CommandError, isDebugging: boolean): never {
  const { problems } = error
  const text =
    problems.length === 1
      ? `syncline: ${problems[0]}`
      : `syncline: ${problems.length} problems\n${problems.map((problem) => `  - ${problem}`).join('\n')}`
  process.stderr.write(`${text}\n`)
  if (isDebugging) process.stderr.write(`${stackOf(error.cause ?? error)}\n`)
  process.exit(error.exitCode)
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
