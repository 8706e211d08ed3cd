import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { CommandError, EXIT } from './failures.ts'

const FIRST_PORT = 4555
const PORTS_TO_TRY = 100
const MIN_SECRET_LENGTH = 32

/** What the development server remembers in its folder from one run to the next. */
export interface DataFolder {
  readonly path: string
  readonly secret: string
  /** The port of the last run. */
  readonly port: number | undefined
  rememberPort(port: number): void
}

/** Where `syncline dev` keeps its secret. */
export const secretPath = (folder: string): string => join(folder, 'dev-secret')

/** Opens the folder, and makes it and the secret where they are missing. */
export function openDataFolder(folder: string): DataFolder {
  try {
    mkdirSync(folder, { recursive: true })
    const secret = readOrMakeSecret(secretPath(folder))
    return {
      path: folder,
      secret,
      port: readPort(join(folder, 'dev-port')),
      rememberPort: (port) => writeFileSync(join(folder, 'dev-port'), `${port}\n`),
    }
  } catch (error) {
    if (error instanceof CommandError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    throw new CommandError(
      EXIT.cannotCreate,
      [
        `the folder ${folder} cannot be written (${code ?? message}): let this user write it and see that space is left, or choose another with --data.`,
      ],
      { cause: error },
    )
  }
}

function readOrMakeSecret(path: string): string {
  const made = randomBytes(32).toString('base64url')
  try {
    writeFileSync(path, `${made}\n`, { mode: 0o600, flag: 'wx' })
    return made
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const kept = readFileSync(path, 'utf8').trim()
  if (kept.length < MIN_SECRET_LENGTH) {
    throw new CommandError(EXIT.config, [
      `${path} holds ${kept.length} characters, fewer than the ${MIN_SECRET_LENGTH} of a secret: delete it, and a new one is made.`,
    ])
  }
  chmodSync(path, 0o600)
  return kept
}

function readPort(path: string): number | undefined {
  try {
    const port = Number(readFileSync(path, 'utf8').trim())
    return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : undefined
  } catch {
    return undefined
  }
}

/**
 * The port of the last run, or else the first free one from 4555 on. The same port again matters: what a browser keeps
 * for offline use belongs to an address.
 */
export async function choosePort(host: string, remembered: number | undefined): Promise<number> {
  const first = remembered ?? FIRST_PORT
  for (let port = first; port < Math.min(first + PORTS_TO_TRY, 65_536); port++) {
    if (await isFree(host, port)) return port
  }
  return first
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ host, port }, () => probe.close(() => resolve(true)))
  })
}
