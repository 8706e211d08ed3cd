import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import {
  connect,
  keys,
  newFolder,
  runToEnd,
  SECRET,
  start,
  startReady,
  stop,
  tokenFor,
  until,
  write,
} from './command.ts'

const oldNode = (version: string): string[] => [
  '--import',
  `data:text/javascript,${encodeURIComponent(`Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`)}`,
]
/** What an app's own features declare their options with. */
const zod = new URL(
  'index.js',
  pathToFileURL(createRequire(import.meta.resolve('@syncline/server')).resolve('zod/package.json')),
).href
const inMemory = ['start', '--storage', 'memory', '--auth', 'none', '--host', '127.0.0.1', '--port', '0']

test.each(['18.19.0', '20.20.2', '22.11.0'])(
  'Node %s is told which Node is needed, in one sentence and with code 78',
  async (version) => {
    const { exitCode, stdout, stderr } = await runToEnd(['start'], { nodeArgs: oldNode(version) })
    expect(exitCode).toBe(78)
    expect(stdout).toBe('')
    expect(stderr).toMatch(
      new RegExp(`^syncline: this is Node ${version}, and Syncline needs Node 22\\.12 or later: .+\\n$`),
    )
  },
)

test('the oldest Node that is good enough passes the check', async () => {
  const { exitCode, stdout } = await runToEnd(['--version'], { nodeArgs: oldNode('22.12.0') })
  expect([exitCode, stdout]).toEqual([0, '0.1.0\n'])
})

test('when it is ready, start prints one line PORT=<n> on stdout and nothing else', async () => {
  const server = await startReady(inMemory)
  const health = await fetch(`${server.url}/health/ready`)
  expect(health.status).toBe(200)
  expect(await stop(server)).toBe(0)
  expect(server.stdout()).toBe(`PORT=${new URL(server.url).port}\n`)
})

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  'INV-24: %s stops the server with code 0, and what was acknowledged is there after it',
  async (signal) => {
    const cwd = newFolder()
    const env = { PORT: '0', HOST: '127.0.0.1', SYNCLINE_JWT_SECRET: SECRET }
    const token = await tokenFor(cwd, [], { SYNCLINE_JWT_SECRET: SECRET })
    const first = await startReady(['start'], { cwd, env })
    const client = await connect(first.url, token)
    for (const key of ['a', 'b', 'c']) expect(await write(client, key, { text: key })).toMatchObject({ success: true })
    expect(await stop(first, signal)).toBe(0)

    const second = await startReady(['start'], { cwd, env })
    expect(await keys(await connect(second.url, token))).toEqual(['a', 'b', 'c'])
    expect(await stop(second)).toBe(0)
  },
)

test('a server that is asked to stop while it starts tells nobody that it is ready', async () => {
  // A feature that is there when the signal comes: in the midst of the start.
  const cwd = newFolder()
  writeFileSync(
    join(cwd, 'syncline.config.mjs'),
    `import * as z from '${zod}'
     const stopped = { name: 'stopped', options: z.object({}), start: () => {
       process.emit('SIGTERM')
       return { handlers: {} }
     } }
     export default { features: [stopped] }`,
  )
  for (const args of [inMemory, ['dev', '--port', '0', '--log', 'info']]) {
    const { exitCode, stdout, stderr } = await runToEnd(args, { cwd })
    expect([exitCode, stdout]).toEqual([0, ''])
    expect(stderr).toContain('SIGTERM: the server finishes what is under way')
    expect(stderr).not.toMatch(/ready|Open it/)
  }
})

test.each([
  ['--help', 'EPIPE', 0, ''],
  ['token --user alice', 'EPIPE', 0, ''],
  [
    'token --user alice',
    'ENOSPC',
    70,
    'syncline: the token could not be written to stdout: ENOSPC: no space left on device, write.\n',
  ],
])('syncline %s shows no stack where stdout ends with %s', async (line, code, exitCode, told) => {
  const breaking = `process.stdout._write = (chunk, encoding, done) =>
    setImmediate(done, Object.assign(new Error('ENOSPC: no space left on device, write'), { code: '${code}' }))`
  const nodeArgs = ['--import', `data:text/javascript,${encodeURIComponent(breaking)}`]
  const run = await runToEnd(line.split(' '), { nodeArgs, env: { SYNCLINE_JWT_SECRET: SECRET } })
  expect([run.exitCode, run.stderr]).toEqual([exitCode, told])
})

test('clients are told before the server stops', async () => {
  const server = await startReady(inMemory)
  const { TestClient } = await import('@syncline/server/testing')
  const client = await TestClient.open(`${server.url.replace('http', 'ws')}/ws`, 'json')
  await client.take('AUTH_REQUIRED')
  const ended = stop(server)
  await client.take('SHUTDOWN_PENDING')
  expect(await client.untilClosed()).toMatchObject({ code: 1001 })
  expect(await ended).toBe(0)
})

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('a second %s ends a server that is still stopping, with code %i', async (signal, exitCode) => {
  // A feature that takes for ever to stop.
  const cwd = newFolder()
  writeFileSync(
    join(cwd, 'syncline.config.mjs'),
    `import * as z from '${zod}'
     const stuck = { name: 'stuck', options: z.object({}), start: () => ({ handlers: {}, stop: () => new Promise(() => {}) }) }
     export default { features: [stuck] }`,
  )
  const server = await startReady(inMemory, { cwd })
  server.child.kill(signal)
  await until(() => server.stderr().includes('A second signal ends it at once'), 'the note of the first signal')
  expect(await stop(server, signal)).toBe(exitCode)
})

test('the end of a parent that holds a channel stops the server', async () => {
  const server = await startReady(inMemory, { ipc: true })
  server.child.disconnect()
  expect(await server.ended).toBe(0)
})

test('an error that nobody handles ends the server with code 70 and one sentence, its stack only with SYNCLINE_LOG=debug', async () => {
  const cwd = newFolder()
  writeFileSync(
    join(cwd, 'syncline.config.mjs'),
    'setTimeout(() => { throw new Error("a wheel came off") }, 400)\nexport default {}',
  )
  const quiet = start([...inMemory, '--log', 'warn'], { cwd })
  expect(await quiet.ended).toBe(70)
  expect(quiet.stderr()).toMatch(/^syncline: the server failed in a way that nobody foresaw: a wheel came off .+$/m)
  expect(quiet.stderr()).not.toContain('    at ')
  const debugging = start(inMemory, { cwd, env: { SYNCLINE_LOG: 'debug' } })
  expect(await debugging.ended).toBe(70)
  expect(debugging.stderr()).toContain('    at ')
})

test('the flag goes before the environment, the environment before the file, the file before the default', async () => {
  const cwd = newFolder()
  writeFileSync(
    join(cwd, 'syncline.config.json'),
    '{ "logLevel": "debug", "auth": "none", "host": "127.0.0.1", "storage": "nonsense", "port": 1 }',
  )
  const server = await startReady(['start', '--port', '0'], { cwd, env: { PORT: '2', SYNCLINE_STORAGE: 'memory' } })
  await until(() => server.stderr().includes('storage="memory"'), 'the line that names the storage')
  expect(await stop(server)).toBe(0)
})

test.each([
  ['syncline.config.ts', 'const port: number = 0\nexport default { port }'],
  ['syncline.config.js', 'export default { port: 0 }'],
  ['syncline.config.mjs', 'export default { port: 0 }'],
  ['syncline.config.json', '{ "port": 0 }'],
])('%s is read where no file is named', async (name, text) => {
  const cwd = newFolder()
  writeFileSync(join(cwd, name), text)
  const server = await startReady(['start', '--storage', 'memory', '--auth', 'none', '--host', '127.0.0.1'], { cwd })
  expect(await stop(server)).toBe(0)
})

test('RUST_LOG is read where SYNCLINE_LOG is not set, with the directives of other servers', async () => {
  const quiet = await startReady(inMemory, { env: { RUST_LOG: 'topgun_server=error' } })
  await stop(quiet)
  expect(quiet.stderr()).toBe('')
  const own = await startReady(inMemory, { env: { RUST_LOG: 'error', SYNCLINE_LOG: 'info' } })
  await until(() => own.stderr().includes('The server is ready'), 'the line that says so')
})
