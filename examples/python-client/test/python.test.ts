import { spawn, spawnSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createServer } from '@syncline/server'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { describe, expect, test } from 'vitest'

const folder = dirname(dirname(fileURLToPath(import.meta.url)))
const PYTHON = 'python3'
const SECRET = 'a secret of the tests alone, long enough'

const found = spawnSync(PYTHON, ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))'])
const hasPython = found.status === 0
if (!hasPython) console.warn(`Skipped: there is no ${PYTHON} of 3.9 or later on the path.`)

interface Ended {
  readonly code: number | null
  readonly output: string
}

/** Runs a command in the folder of the client, to its end. */
function run(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...environment }
    const child = spawn(command, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 110_000 })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** A token of this server for a user who may write what the policies say. */
function token(): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const exp = Math.floor(Date.now() / 1000) + 600
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'ada', roles: ['USER'], exp })}`
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}

// Each waits for other processes more than it works.
describe.concurrent('a client in Python that was written from the specification', () => {
  test.skipIf(!hasPython)('[VE3] passes the vectors of what it speaks, and its own tests', async () => {
    const suites = ['vectors', 'engine', 'polling', 'websocket'].map((name) => `tests.test_${name}`)
    const { code, output } = await run(PYTHON, ['-m', 'unittest', ...suites])
    expect(output).toMatch(/Ran \d+ tests[\s\S]*\nOK\n/)
    expect(code).toBe(0)
  })

  test.skipIf(!hasPython)(
    'keeps every rule that the conformance kit can see of a client that speaks JSON',
    async () => {
      const kit = fileURLToPath(new URL('src/cli.ts', import.meta.resolve('@syncline/conformance/package.json')))
      const args = ['--conditions=@syncline/source', kit, 'client', '--json', '--', PYTHON, 'driver.py']
      const { code, output } = await run(process.execPath, args)
      // What it says is shown where it fails.
      expect({ code, output: code === 0 ? '' : output }).toEqual({ code: 0, output: '' })
    },
  )

  test.skipIf(!hasPython)('works with a real server, over WebSocket and POST /sync', async () => {
    const data = await mkdtemp(join(tmpdir(), 'syncline-python-'))
    const server = createServer({
      port: 0,
      host: '127.0.0.1',
      storage: sqliteStorage({ path: join(data, 'test.db') }),
      jwtSecret: SECRET,
      securityPolicies: ['*', 'topic:*', 'lock:*'].map((mapNamePattern) => ({
        role: 'USER',
        mapNamePattern,
        actions: ['ALL' as const],
      })),
    })
    try {
      await server.ready()
      const environment = { SYNCLINE_URL: `ws://127.0.0.1:${server.port}/ws`, SYNCLINE_TOKEN: token() }
      const { code, output } = await run(PYTHON, ['-m', 'unittest', 'tests.test_end_to_end'], environment)
      expect(output).toMatch(/Ran \d+ tests[\s\S]*\nOK\n/)
      expect(code).toBe(0)
    } finally {
      await server.shutdown()
      await rm(data, { recursive: true, force: true })
    }
  })
})
