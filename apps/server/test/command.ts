import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TestClient } from '@syncline/server/testing'
import { afterAll, afterEach } from 'vitest'

const entry = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
if (!existsSync(entry)) throw new Error('These tests run the built command: pnpm --filter @syncline/server-cli build')

/** A secret that production accepts. */
export const SECRET = '0f9e8d7c6b5a49382716f5e4d3c2b1a0ffee'

const running = new Set<ChildProcess>()
const mounted: string[] = []
const made: string[] = []

afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
  running.clear()
})
afterAll(() => {
  for (const path of mounted) spawnSync('umount', ['-l', path])
  for (const path of made) rmSync(path, { recursive: true, force: true })
})

/** An empty folder that goes with the test file. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-cli-'))
  made.push(folder)
  return folder
}

/** Whether this process may mount file systems: on Linux root may, unless a container keeps it from that. */
export const canMount: boolean = mount('ro') !== undefined

/** A folder on a file system of its own, where `canMount`. */
export function mountFolder(options: string): string {
  const folder = mount(options)
  if (folder === undefined) throw new Error('No file system could be mounted.')
  return folder
}

function mount(options: string): string | undefined {
  const folder = join(newFolder(), 'mounted')
  mkdirSync(folder)
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder])
  if (status !== 0) return undefined
  mounted.push(folder)
  return folder
}

/** A run of the command. */
export interface Run {
  readonly child: ChildProcess
  readonly stdout: () => string
  readonly stderr: () => string
  /** The port, when the command has printed it. Rejects when it ends before. */
  readonly port: Promise<number>
  /** How it ended: its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
}

/** How the command is run. */
export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly nodeArgs?: readonly string[]
  readonly ipc?: boolean
}

/** Starts the built command in an environment that sets nothing. */
export function start(
  args: readonly string[],
  { cwd = newFolder(), env = {}, nodeArgs = [], ipc = false }: RunOptions = {},
): Run {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [...nodeArgs, entry, ...args], {
    cwd,
    env: { PATH, HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])],
  })
  let stdout = ''
  let stderr = ''
  // Not the event `close`: it does not come after a channel was closed from this side.
  const ended = Promise.all([
    new Promise<number | NodeJS.Signals>((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? (signal as NodeJS.Signals)))
    }),
    ...[child.stdout, child.stderr].map((stream) => new Promise((resolve) => stream?.once('close', resolve))),
  ]).then(([how]) => {
    running.delete(child)
    return how
  })
  const port = new Promise<number>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      const found = /^PORT=(\d+)$/m.exec(stdout)?.[1]
      if (found !== undefined) resolve(Number(found))
    })
    void ended.then((how) => reject(new Error(`The command ended with ${how} before it was ready:\n${stderr}`)))
  })
  port.catch(() => {})
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  return { child, stdout: () => stdout, stderr: () => stderr, port, ended }
}

/** Starts a server and waits until it listens. */
export async function startReady(
  args: readonly string[],
  options?: RunOptions,
): Promise<Run & { readonly url: string }> {
  const run = start(args, options)
  running.add(run.child)
  const port = await run.port
  return { ...run, url: `http://127.0.0.1:${port}` }
}

/** Runs the command to its end. */
export async function runToEnd(
  args: readonly string[],
  options?: RunOptions,
): Promise<{ readonly exitCode: number | NodeJS.Signals; readonly stdout: string; readonly stderr: string }> {
  const run = start(args, options)
  const timer = setTimeout(() => run.child.kill('SIGKILL'), 15_000)
  const exitCode = await run.ended
  clearTimeout(timer)
  return { exitCode, stdout: run.stdout(), stderr: run.stderr() }
}

/** Sends a signal and waits for the end. */
export function stop({ child, ended }: Run, signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
  child.kill(signal)
  return ended
}

/** Waits for a condition. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 8_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Nothing within ${timeoutMs} ms while waiting for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** A client that is signed in. */
export async function connect(url: string, token: string, path = '/ws'): Promise<TestClient> {
  const client = await TestClient.open(`${url.replace('http', 'ws')}${path}`, 'json')
  client.send({ type: 'AUTH', token })
  await client.take('AUTH_ACK')
  return client
}

let ids = 0

/** Writes a record and returns what the server says of it, once it is on the disk. */
export async function write(client: TestClient, key: string, value: Record<string, string>) {
  const id = `op-${++ids}`
  const timestamp = { millis: Date.now() - 1_000, counter: ids, nodeId: 'tester' }
  client.send({
    type: 'CLIENT_OP',
    payload: { id, mapName: 'todos', key, opType: 'PUT', record: { value, timestamp }, writeConcern: 'PERSISTED' },
  })
  const ack = await client.take('OP_ACK', ({ payload }) => payload.lastId === id)
  return ack.payload.results[0]
}

/** The keys of all records. */
export async function keys(client: TestClient): Promise<string[]> {
  const queryId = `q-${++ids}`
  client.send({ type: 'QUERY_SUB', payload: { queryId, mapName: 'todos', query: {} } })
  const found: string[] = []
  for (let isMore = true; isMore;) {
    const { payload } = await client.take('QUERY_RESP', (message) => message.payload.queryId === queryId)
    found.push(...payload.results.map(({ key }) => key))
    isMore = payload.more === true
  }
  return found
}

/** The token that `syncline token` prints. */
export async function tokenFor(
  cwd: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<string> {
  const { stdout, stderr } = await runToEnd(['token', '--user', 'tester', '--role', 'ADMIN', ...args], { cwd, env })
  if (stdout === '') throw new Error(stderr)
  return stdout.trim()
}
