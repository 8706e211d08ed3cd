import type { IncomingMessage, ServerResponse } from 'node:http'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ServerOptions } from '@syncline/server'
import { readConfig, type Flags } from './config.ts'
import { choosePort, openDataFolder, type DataFolder } from './data-folder.ts'
import { CommandError, isStorageInUse } from './failures.ts'
import { run } from './run.ts'
import type { SettingName } from './settings.ts'
import { refuseMethod, sendText, staticFiles, type Answer } from './static-files.ts'
import { signToken } from './tokens.ts'

/** The settings that `syncline dev` reads. Address, storage, mode, authentication and secret are its own. */
export const devSettings: readonly SettingName[] = ['port', 'logLevel']

const HOST = '127.0.0.1'
const TOKEN_TTL_SECONDS = 86_400
/** The built todo example, which the build puts beside this file. */
const PAGE_FOLDER = fileURLToPath(new URL('todo', import.meta.url))

/** The flags of `syncline dev`. */
export interface DevFlags extends Flags {
  readonly data: string
}

/** `syncline dev`: a server for this machine alone, with a page to try it. */
export async function dev({ data, ...flags }: DevFlags): Promise<void> {
  const path = join(data, 'syncline.db')
  const config = await readConfig(devSettings, flags, process.env, { storage: `sqlite:${path}`, logLevel: 'warn' })
  const folder = openDataFolder(data)
  const port = config.isDefault('port') ? await choosePort(HOST, folder.port) : config.port
  const page = staticFiles(PAGE_FOLDER)
  const own: ServerOptions = {
    host: HOST,
    port,
    mode: 'development',
    auth: 'jwt',
    jwtSecret: folder.secret,
    onRequest: answerWith(folder, page),
  }
  try {
    await run(config, own, ({ server }) => {
      remember(folder, server.port)
      process.stderr.write(banner(server.port, shown(path), folder.port))
    })
  } catch (error) {
    throw withAddress(error, folder.port === port ? undefined : folder.port)
  }
}

/** Where the data is in use and the port of the last run taken, the server that was meant runs already. */
function withAddress(error: unknown, takenPort: number | undefined): unknown {
  const isInUse = error instanceof CommandError && isStorageInUse(error.cause)
  if (!isInUse || takenPort === undefined) return error
  const problems = error.problems.map((problem) => `${problem} It is probably the one at http://${HOST}:${takenPort}.`)
  return new CommandError(error.exitCode, problems, { cause: error.cause })
}

/** A folder that cannot be written any more costs the same address next time, and nothing now. */
function remember(folder: DataFolder, port: number): void {
  if (folder.port === port) return
  try {
    folder.rememberPort(port)
  } catch (error) {
    process.stderr.write(`syncline: the port could not be remembered: ${(error as Error).message}\n`)
  }
}

const shown = (path: string): string => {
  const short = relative('.', path)
  return short.startsWith('..') ? path : short
}

function banner(port: number, kept: string, lastPort: number | undefined): string {
  const lines = [`Open it in two tabs:  http://${HOST}:${port}`]
  if (lastPort !== undefined && lastPort !== port) {
    lines.push(`Port ${lastPort} was taken: what browsers keep for offline use stays with that address.`)
  }
  lines.push(`Data:                 ${kept}`, 'Stop:                 Ctrl+C (the page goes on without it)')
  return `\n  Syncline runs, for this machine only.\n\n${lines.map((line) => `  ${line}\n`).join('')}\n`
}

function answerWith(folder: DataFolder, page: Answer) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    // A page of another site that made its name lead to this machine (DNS rebinding) still sends that name.
    if (!isLoopbackHost(request.headers.host)) {
      return sendText(
        response,
        403,
        `The development server answers only under the names of this machine, such as ${HOST}.`,
      )
    }
    const { pathname, searchParams } = new URL(request.url ?? '/', `http://${HOST}`)
    if (pathname === '/dev/token') return answerToken(request, response, folder.secret, searchParams)
    page(request, response, pathname)
  }
}

function answerToken(request: IncomingMessage, response: ServerResponse, secret: string, query: URLSearchParams): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuseMethod(response)
  if (!isOwnPage(request)) return sendText(response, 403, 'Tokens are given only to pages of this server.')
  const claims = {
    user: query.get('user') || 'dev',
    roles: [query.get('role') || 'USER'],
    ttlSeconds: TOKEN_TTL_SECONDS,
  }
  signToken(secret, claims).then(
    (token) => sendText(response, 200, token),
    () => sendText(response, 500, 'The token could not be signed.'),
  )
}

/** True for the page itself and for programs; false for what a page of another site asks for. */
function isOwnPage({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false
  return headers.origin === undefined || headers.origin === `http://${headers.host}`
}

function isLoopbackHost(host: string | undefined): boolean {
  return /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/i.test(host ?? '')
}
