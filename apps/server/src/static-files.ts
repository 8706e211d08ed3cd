import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname, join, sep } from 'node:path'

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.woff2': 'font/woff2',
}

/** Nothing from elsewhere, nothing inline, no eval; sockets, because `'self'` covers them only in newer browsers. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "connect-src 'self' ws: wss:",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

interface StaticFile {
  readonly body: Buffer
  readonly type: string
  readonly etag: string
}

/** Answers a request to a path. */
export type Answer = (request: IncomingMessage, response: ServerResponse, path: string) => void

/** Serves the files that a folder holds now, from memory: no path can lead anywhere else. `/` is `index.html`. */
export function staticFiles(folder: string): Answer {
  const files = readFiles(folder)
  return (request, response, path) => {
    const file = files.get(path === '/' ? '/index.html' : path)
    if (file === undefined) return sendText(response, 404, 'There is no such page.')
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuseMethod(response)
    const headers = { ...SECURITY_HEADERS, 'cache-control': 'no-cache', etag: file.etag }
    if (matches(request.headers['if-none-match'], file.etag)) {
      response.writeHead(304, headers).end()
      return
    }
    response.writeHead(200, { ...headers, 'content-type': file.type, 'content-length': file.body.length })
    response.end(request.method === 'HEAD' ? undefined : file.body)
  }
}

/** Answers with a text that nobody keeps, as it is: a line break at its end would be part of what scripts put into headers. */
export function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    ...SECURITY_HEADERS,
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    ...headers,
  })
  response.end(text)
}

/** Answers that only GET and HEAD are possible. */
export function refuseMethod(response: ServerResponse): void {
  sendText(response, 405, 'Only GET and HEAD are possible here.', { allow: 'GET, HEAD' })
}

function readFiles(folder: string): Map<string, StaticFile> {
  const files = new Map<string, StaticFile>()
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const type = CONTENT_TYPES[extname(name)]
    if (type === undefined) continue
    const body = readFileSync(join(folder, name))
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    files.set(`/${name.split(sep).join('/')}`, { body, type, etag })
  }
  return files
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((each) => each.trim() === '*' || each.trim().replace(/^W\//, '') === etag)
}
