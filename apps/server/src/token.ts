import { existsSync, readFileSync } from 'node:fs'
import { readConfig } from './config.ts'
import { secretPath } from './data-folder.ts'
import { CommandError, EXIT } from './failures.ts'
import { parseDuration, signToken } from './tokens.ts'

/** The flags of `syncline token`. */
export interface TokenFlags {
  readonly user: string
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
  if (user.trim() === '') problems.push('--user is empty: name who the token speaks for.')
  const secret = config.jwtSecret ?? developmentSecret(data)
  if (secret === undefined && problems.length === 0) {
    problems.push(
      `there is no secret to sign with: set SYNCLINE_JWT_SECRET, give --secret-file, or run "syncline dev" once, which makes ${secretPath(data)}.`,
    )
  }
  if (problems.length > 0 || secret === undefined || ttlSeconds === undefined)
    throw new CommandError(EXIT.config, problems)
  process.stdout.write(`${await signToken(secret, { user, roles: role, ttlSeconds })}\n`)
}

function developmentSecret(data: string): string | undefined {
  const path = secretPath(data)
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
}
