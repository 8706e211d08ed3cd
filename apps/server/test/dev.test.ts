import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { connect, keys, newFolder, runToEnd, SECRET, startReady, stop, tokenFor, write } from './command.ts'

/** A request as it is written: `fetch` would tidy the path and refuse the headers. */
function raw(
  url: string,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const sent = request({ hostname, port, path, method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      )
    })
    sent.once('error', reject)
    sent.end()
  })
}

const devFree = ['dev', '--port', '0']

test('dev says what runs, where the data lies and how to stop, and PORT=<n> alone on stdout', async () => {
  const server = await startReady(devFree)
  expect(await stop(server, 'SIGINT')).toBe(0)
  expect(server.stdout()).toBe(`PORT=${new URL(server.url).port}\n`)
  expect(server.stderr()).toContain(`Open it in two tabs:  ${server.url}`)
  expect(server.stderr()).toContain('data/syncline.db')
  expect(server.stderr()).toContain('Ctrl+C')
})

test('dev keeps its secret, for its user alone, and its port from one run to the next', async () => {
  const cwd = newFolder()
  const first = await startReady(devFree, { cwd })
  const secretPath = join(cwd, 'data', 'dev-secret')
  const secret = readFileSync(secretPath, 'utf8')
  expect(secret.trim().length).toBeGreaterThanOrEqual(32)
  expect(statSync(secretPath).mode & 0o777).toBe(0o600)
  expect(await stop(first)).toBe(0)
  chmodSync(secretPath, 0o644)

  const second = await startReady(['dev'], { cwd })
  expect(second.url).toBe(first.url)
  expect(readFileSync(secretPath, 'utf8')).toBe(secret)
  expect(statSync(secretPath).mode & 0o777).toBe(0o600)
  expect(await stop(second)).toBe(0)
})

test('dev takes the next port where the one of the last run is taken, says so, and keeps to it', async () => {
  const cwd = newFolder()
  const first = await startReady(devFree, { cwd })
  expect(await stop(first)).toBe(0)
  const { port } = new URL(first.url)
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(Number(port), '127.0.0.1', resolve))
  const second = await startReady(['dev'], { cwd })
  expect(await stop(second)).toBe(0)
  other.close()
  expect(Number(new URL(second.url).port)).toBeGreaterThan(Number(port))
  expect(second.stderr()).toContain(`Port ${port} was taken`)
  expect(readFileSync(join(cwd, 'data', 'dev-port'), 'utf8').trim()).toBe(new URL(second.url).port)
})

test('a second dev on the same folder says where the first one is', async () => {
  const cwd = newFolder()
  const first = await startReady(devFree, { cwd })
  const { exitCode, stdout, stderr } = await runToEnd(['dev'], { cwd })
  expect([exitCode, stdout]).toEqual([73, ''])
  expect(stderr).toContain(`is in use by another process`)
  expect(stderr.trimEnd()).toMatch(new RegExp(`It is probably the one at ${first.url}\\.$`))
  expect(await stop(first)).toBe(0)
})

test('a port that is asked for and taken is refused with code 69', async () => {
  const server = await startReady(devFree)
  const { exitCode, stderr } = await runToEnd(['dev', '--port', new URL(server.url).port])
  expect(exitCode).toBe(69)
  expect(stderr).toMatch(/^syncline: port \d+ on 127\.0\.0\.1 is in use by another program: .+$/m)
})

test('a secret that was cut short is refused, and not used', async () => {
  const cwd = newFolder()
  await stop(await startReady(devFree, { cwd }))
  writeFileSync(join(cwd, 'data', 'dev-secret'), 'oops\n')
  const { exitCode, stderr } = await runToEnd(devFree, { cwd })
  expect([exitCode, stderr]).toEqual([
    78,
    'syncline: data/dev-secret holds 4 characters, fewer than the 32 of a secret: delete it, and a new one is made.\n',
  ])
})

test('a folder that cannot be made is refused with code 73', async () => {
  const cwd = newFolder()
  writeFileSync(join(cwd, 'file'), '')
  const { exitCode, stderr } = await runToEnd([...devFree, '--data', 'file/data'], { cwd })
  expect(exitCode).toBe(73)
  expect(stderr).toMatch(/^syncline: the folder file\/data cannot be written \(ENOTDIR\): .+\n$/)
})

test('dev is reached from this machine only', async () => {
  const server = await startReady(devFree, { env: { HOST: '0.0.0.0' } })
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((each) => each !== undefined && !each.internal && each.family === 'IPv4')
  if (outside !== undefined)
    await expect(fetch(`http://${outside.address}:${new URL(server.url).port}/health`)).rejects.toThrow('fetch failed')
  expect((await fetch(`${server.url}/health`)).status).toBe(200)
})

test('a production secret of the environment signs nothing in dev', async () => {
  const cwd = newFolder()
  const env = { SYNCLINE_JWT_SECRET: SECRET }
  const server = await startReady(devFree, { cwd, env })
  const stranger = await tokenFor(cwd, [], env)
  await expect(connect(server.url, stranger)).rejects.toThrow('waiting for a AUTH_ACK')
  await connect(server.url, await tokenFor(cwd))
})

test('clients are served at / and at /ws, with the token of /dev/token, and meet', async () => {
  const server = await startReady(devFree)
  const token = await (await fetch(`${server.url}/dev/token?user=alice`)).text()
  // It is what a header takes, also from a file or a script that strips nothing.
  expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
  const atRoot = await connect(server.url, token, '/')
  const atWs = await connect(server.url, token, '/ws')
  expect(await write(atRoot, 'a', { text: 'hello' })).toMatchObject({ success: true, achievedLevel: 'PERSISTED' })
  expect(await keys(atWs)).toEqual(['a'])
})

describe('tokens', () => {
  const claimsOf = (token: string): Record<string, unknown> =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>

  test('carry user, roles and expiry as asked for', async () => {
    const { stdout } = await runToEnd(
      ['token', '--user', 'alice', '--role', 'ADMIN', '--role', 'USER', '--ttl', '15m'],
      { env: { SYNCLINE_JWT_SECRET: SECRET } },
    )
    const claims = claimsOf(stdout.trim())
    expect(claims).toMatchObject({ sub: 'alice', roles: ['ADMIN', 'USER'] })
    expect(Number(claims['exp']) - Number(claims['iat'])).toBe(900)
  })

  test('are signed with the secret of a file where one is named', async () => {
    const cwd = newFolder()
    writeFileSync(join(cwd, 'secret'), `${SECRET}\n`)
    const token = await tokenFor(cwd, ['--secret-file', 'secret'])
    const server = await startReady(
      ['start', '--secret-file', 'secret', '--storage', 'memory', '--host', '127.0.0.1', '--port', '0'],
      { cwd },
    )
    await connect(server.url, token)
  })

  test.each([
    [['--user', 'a', '--ttl', 'soon'], /--ttl is "soon": give a number and s, m, h or d, as in 15m\./],
    [['--user', ' '], /--user is empty: name who the token speaks for\./],
    [[], /--user is missing: name who the token speaks for\./],
  ])('with %j are refused', async (args, sentence) => {
    const { exitCode, stdout, stderr } = await runToEnd(['token', ...args], { env: { SYNCLINE_JWT_SECRET: SECRET } })
    expect([exitCode, stdout]).toEqual([78, ''])
    expect(stderr).toMatch(sentence)
  })

  test('need a secret', async () => {
    const { exitCode, stderr } = await runToEnd(['token', '--user', 'a'])
    expect(exitCode).toBe(78)
    expect(stderr).toBe(
      'syncline: there is no secret to sign with: set SYNCLINE_JWT_SECRET, give --secret-file, or run "syncline dev" once, which makes data/dev-secret.\n',
    )
  })

  test('are given neither to pages of other sites nor under other names', async () => {
    const { url } = await startReady(devFree)
    const { host } = new URL(url)
    const answers = await Promise.all([
      raw(url, '/dev/token', { headers: { host: 'evil.example' } }),
      raw(url, '/dev/token', { headers: { host: `127.0.0.1.evil.example:${new URL(url).port}` } }),
      raw(url, '/dev/token', { headers: { host, origin: 'https://evil.example' } }),
      raw(url, '/dev/token', { headers: { host, origin: 'null' } }),
      raw(url, '/dev/token', { headers: { host, 'sec-fetch-site': 'cross-site' } }),
      raw(url, '/dev/token', { headers: { host, 'sec-fetch-site': 'same-site' } }),
    ])
    expect(answers.map(({ status, body }) => [status, body.includes('eyJ')])).toEqual(answers.map(() => [403, false]))
    const own = await raw(url, '/dev/token', {
      headers: { host: host.replace('127.0.0.1', 'localhost'), 'sec-fetch-site': 'same-origin' },
    })
    expect([own.status, own.headers['cache-control'], own.headers['access-control-allow-origin']]).toEqual([
      200,
      'no-store',
      undefined,
    ])
    expect((await raw(url, '/dev/token', { method: 'POST', headers: { host } })).status).toBe(405)
  })
})

describe('the todo page', () => {
  test('is served with its type, its length and a policy that forbids inline code, eval and other sites', async () => {
    const { url } = await startReady(devFree)
    for (const [path, type] of [
      ['/', 'text/html; charset=utf-8'],
      ['/?user=x', 'text/html; charset=utf-8'],
      ['/app.js', 'text/javascript; charset=utf-8'],
      ['/sw.js', 'text/javascript; charset=utf-8'],
      ['/style.css', 'text/css; charset=utf-8'],
      ['/icon.svg', 'image/svg+xml; charset=utf-8'],
      ['/manifest.webmanifest', 'application/manifest+json; charset=utf-8'],
    ] as const) {
      const { status, headers, body } = await raw(url, path)
      expect([path, status, headers['content-type'], headers['content-length']]).toEqual([
        path,
        200,
        type,
        String(Buffer.byteLength(body)),
      ])
      expect(headers['content-security-policy']).toMatch(/^default-src 'self'; connect-src 'self' ws: wss:; /)
      expect(headers['content-security-policy']).not.toContain('unsafe')
      expect(headers['x-content-type-options']).toBe('nosniff')
    }
    expect((await raw(url, '/')).body).toBe(
      readFileSync(new URL('../../../examples/todo/dist/index.html', import.meta.url), 'utf8'),
    )
  })

  test('is asked for again by its ETag, and answers HEAD without a body and other methods with 405', async () => {
    const { url } = await startReady(devFree)
    const first = await raw(url, '/app.js')
    const etag = String(first.headers['etag'])
    expect(first.headers['cache-control']).toBe('no-cache')
    for (const value of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await raw(url, '/app.js', { headers: { 'if-none-match': value } })
      expect([again.status, again.body, again.headers['etag']]).toEqual([304, '', etag])
    }
    expect((await raw(url, '/app.js', { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
    const head = await raw(url, '/app.js', { method: 'HEAD' })
    expect([head.status, head.body, head.headers['content-length']]).toEqual([200, '', first.headers['content-length']])
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const answer = await raw(url, '/', { method })
      expect([method, answer.status, answer.headers['allow']]).toEqual([method, 405, 'GET, HEAD'])
    }
  })

  test('leads to no other file', async () => {
    const { url } = await startReady(devFree)
    for (const path of [
      '/../package.json',
      '/%2e%2e/package.json',
      '/..%2fpackage.json',
      '/src/../../package.json',
      '//etc/passwd',
      '/..\\package.json',
      '/data/dev-secret',
      '/./../../../../etc/passwd',
      '/%00',
      '/%',
      '/__proto__',
      '/constructor',
    ]) {
      const { status, body } = await raw(url, path)
      expect([path, status]).toEqual([path, 404])
      expect(body).toBe('There is no such page.')
    }
  })
})
