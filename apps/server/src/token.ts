import { existsSync, readFileSync } from 'node:fs'
import { readConfig } from './config.ts'
import { secretPath } from './data-folder.ts'
import { CommandError, EXIT } from './failures.ts'
import { parseDuration, signToken } from './tokens.ts'

/** The flags of `syncline token`. */
export interface TokenFlags {
  readonly user?: string
  readonly role: readonly string[]
  readonly ttl: string
  readonly data: string
  readonly jwtSecret?: string
}

/** `syncline token`: prints a token on stdout, signed with the secret that is set, or else with that of `syncline dev`. */
export async function token({ user, role, ttl, data, jwtSecret }: TokenFlags): Promise<void> {
  const config = await readConfig(['jwtSecret'], jwtSecret === undefined ? {} : { jwtSecret }, process.env)
  const problems = [...config.problems]
  const ttlSeconds = parseDuration(ttl)
  if (ttlSeconds === undefined) problems.push(`--ttl is "${ttl}": give a number and s, m, h or d, as in 15m.`)
  if (user === undefined || user.trim() === '')
    problems.push(`--user is ${user === undefined ? 'missing' : 'empty'}: name who the token speaks for.`)
  const secret = config.jwtSecret ?? developmentSecret(data)
  if (secret === undefined && problems.length === 0) {
    problems.push(
      `there is no secret to sign with: set SYNCLINE_JWT_SECRET, give --secret-file, or run "syncline dev" once, which makes ${secretPath(data)}.`,
    )
  }
  if (problems.length > 0 || user === undefined || secret === undefined || ttlSeconds === undefined)
    throw new CommandError(EXIT.config, problems)
  await print(`${await signToken(secret, { user, roles: role, ttlSeconds })}\n`)
}

/** Writes to stdout. A reader who has gone on purpose has what it wanted; what cannot be written for another reason is told. */
function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (!error || (error as NodeJS.ErrnoException).code === 'EPIPE') return resolve()
      reject(
        new CommandError(EXIT.software, [`the token could not be written to stdout: ${error.message}.`], {
          cause: error,
        }),
      )
    })
  })
}

function developmentSecret(data: string): string | undefined {
  const path = secretPath(data)
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
}
