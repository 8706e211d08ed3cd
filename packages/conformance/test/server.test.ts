import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createServer, type SynclineServer } from '@syncline/server'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { WebSocketServer } from 'ws'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkGroups } from '../src/checks.ts'
import { summary } from '../src/report.ts'
import { examineServer, type Outcome } from '../src/run.ts'
import { signToken } from '../src/token.ts'
import { scenarios } from '../src/client/scenarios.ts'
import { faults } from './faults.ts'
import { startFaulty } from './proxy.ts'
import { unseen } from './unseen.ts'

const SECRET = 'a secret of more than thirty-two characters'
const folder = mkdtempSync(join(tmpdir(), 'syncline-conformance-'))
const started: SynclineServer[] = []

async function start(options: Parameters<typeof createServer>[0]): Promise<string> {
  const server = createServer({ host: '127.0.0.1', port: 0, logLevel: 'error', ...options } as never)
  await server.ready()
  started.push(server)
  return `ws://127.0.0.1:${server.port}/ws`
}

const searched = { map: 'articles', field: 'text' }
const search = { maps: { articles: { fields: ['text'] } } }
const journal = { enabled: true }
const open = { mode: 'development', auth: 'none', search, journal } as const
const secured = {
  mode: 'production',
  auth: 'jwt',
  jwtSecret: SECRET,
  search,
  journal,
  securityPolicies: [{ role: 'ADMIN', mapNamePattern: '*', actions: ['ALL'] }],
} as const
const addressOf = (server: WebSocketServer): string =>
  `ws://127.0.0.1:${(server.address() as { readonly port: number }).port}/ws`
const failed = (outcomes: readonly Outcome[]): readonly Outcome[] =>
  outcomes.filter(({ status }) => status === 'failed')
const examine = (
  url: string,
  options: Partial<Parameters<typeof examineServer>[0]> = {},
): Promise<readonly Outcome[]> =>
  examineServer({ url, encodings: ['json', 'msgpack'], only: [], searched, timeoutMs: 15_000, ...options })

afterAll(async () => {
  for (const server of started) await server.shutdown()
  rmSync(folder, { recursive: true })
})

describe('the server of this repository', () => {
  test.each([
    ['in memory, open to everyone', () => start(open), {}],
    [
      'on SQLite, open to everyone',
      () => start({ ...open, storage: sqliteStorage({ path: join(folder, 'a.db') }) }),
      {},
    ],
    ['in memory, with the secret of its tokens', () => start(secured as never), { secret: SECRET }],
    [
      'on SQLite, with a token',
      () => start({ ...secured, storage: sqliteStorage({ path: join(folder, 'b.db') }) } as never),
      { token: signToken(SECRET, { sub: 'kit', roles: ['ADMIN'] }) },
    ],
  ] as const)('keeps every rule in both encodings, %s', async (_, startServer, options) => {
    const outcomes = await examine(await startServer(), options)
    expect(
      failed(outcomes).map(
        ({ rule, title, encoding, expected, seen }) =>
          `${rule} ${title} (${encoding}): expected ${expected}, saw ${seen}`,
      ),
    ).toEqual([])
    expect(outcomes.filter(({ status }) => status === 'passed').length).toBeGreaterThan(200)
    // With the secret of its tokens there is no rule that it cannot see.
    if ('secret' in options) expect(summary(outcomes).unseen).toEqual([])
  })

  test('nothing is left behind: every record that the kit wrote is removed', async () => {
    const seen: string[] = []
    const url = await start(open)
    const faulty = await startFaulty(url, {
      toServer(message) {
        for (const op of (message.payload?.['ops'] as { opType?: string }[] | undefined) ?? [])
          seen.push(op.opType ?? '')
        return [message]
      },
    })
    await examine(faulty.url, { encodings: ['json'], only: ['OP6'] })
    faulty.stop()
    expect(seen).toEqual(['REMOVE', 'REMOVE'])
  })
})

describe('a broken server', () => {
  let url: string
  beforeAll(async () => {
    url = await start(open)
  })

  test.each(faults)('[%s] is found to be broken: one that %s', async (rule, _, fault) => {
    const faulty = await startFaulty(url, fault)
    try {
      const isObserved = ['ER1', 'ER2', 'FR12'].includes(rule)
      const only = isObserved ? ['OP11', 'FR14', rule] : [rule]
      const outcomes = await examine(faulty.url, {
        only,
        timeoutMs: 1_500,
        ...(rule.startsWith('FR') ? {} : { encodings: ['json'] }),
      })
      expect(failed(outcomes).map((outcome) => outcome.rule)).toContain(rule)
      for (const outcome of failed(outcomes)) expect(`${outcome.expected} ${outcome.seen}`.length).toBeGreaterThan(3)
    } finally {
      faulty.stop()
    }
  })

  test('one that takes any token is found to be broken', async () => {
    const securedUrl = await start(secured as never)
    const faulty = await startFaulty(securedUrl, {
      toClient: (message) =>
        message.type === 'AUTH_FAIL'
          ? [{ type: 'AUTH_ACK', protocolVersion: 1, userId: 'x', serverTime: Date.now(), databaseId: 'x' }]
          : [message],
    })
    const outcomes = await examine(faulty.url, { only: ['SE4'], secret: SECRET, timeoutMs: 1_500 })
    faulty.stop()
    expect(failed(outcomes).length).toBeGreaterThan(0)
  })
})

describe('the checks', () => {
  const all = checkGroups.flatMap(({ checks }) => checks)

  test('look at every rule of the specification, or say why not', () => {
    const spec = readFileSync(new URL('../../protocol/SPEC.md', import.meta.url), 'utf8')
    const rules = [...spec.matchAll(/^\*\*\[([A-Z]+\d+)\]\*\*/gm)].map(([, rule = '']) => rule)
    // The last two are looked at in every message that comes.
    const seen = new Set([...all, ...scenarios].map(({ rule }) => rule).concat('FR12', 'ER1', 'ER2', 'CL1'))
    expect(rules.filter((rule) => !seen.has(rule) && !(rule in unseen))).toEqual([])
    expect(Object.keys(unseen).filter((rule) => seen.has(rule) || !rules.includes(rule))).toEqual([])
  })

  test('have titles that tell them apart', () => {
    const names = all.map(({ rule, title }) => `${rule} ${title}`)
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
  })
})

describe('the command', () => {
  const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
  const run = (
    ...args: readonly string[]
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> =>
    new Promise((resolve) => {
      execFile(process.execPath, ['--conditions=@syncline/source', cli, ...args], (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
      )
    })

  test('prints each rule with its mark, and exits with 0 where all hold', async () => {
    const url = await start(open)
    const { code, stdout } = await run(url, '--only', 'SE,FR1', '--encoding', 'json')
    expect(stdout).toContain('✓ SE2   PING is answered before AUTH')
    expect(stdout).toContain('– SE4   a token that is no token')
    expect(stdout).toContain('skipped  the server is open to everyone')
    expect(stdout).toMatch(/\d+ rules {3}\d+ hold {3}0 do not/)
    expect(stdout).not.toContain('\u001b')
    expect(code).toBe(0)
  })

  test('says what it expected and what it saw, and exits with 1, where one does not hold', async () => {
    const faulty = await startFaulty(await start(open), {
      toClient: (message) => [message.type === 'PONG' ? { ...message, timestamp: 1 } : message],
    })
    const { code, stdout } = await run(faulty.url, '--only', 'SE2', '--timeout', '500')
    faulty.stop()
    expect(stdout).toMatch(/✗ SE2[\s\S]+expected the timestamp 12\.5[\s\S]+saw {6}1/)
    expect(stdout).toContain('Broken: SE2')
    expect(code).toBe(1)
  })

  test('gives each outcome as JSON', async () => {
    const { stdout } = await run(await start(open), '--only', 'SE2', '--json')
    const { rules, checks } = JSON.parse(stdout) as { rules: object; checks: Outcome[] }
    expect(rules).toEqual({ held: ['SE2'], broken: [], notSeen: [] })
    expect(checks[0]).toMatchObject({ rule: 'SE2', encoding: 'json', status: 'passed' })
  })

  test('makes no check without a token that the server takes, and says where to get one', async () => {
    const url = await start(secured as never)
    for (const [args, problem] of [
      [[url], 'the server asks for a token. Give one'],
      [[url, '--token', 'x'], 'the server refuses the token: '],
      [[url, '--secret', 'x'], 'the server refuses the token made with --secret: '],
    ] as const) {
      const { code, stderr, stdout } = await run(...args, '--timeout', '2000')
      expect(stderr).toContain(problem)
      expect(stdout).toBe('')
      expect(code).toBe(2)
    }
  })

  test.each([
    ['nothing', []],
    ['to read alone', [{ role: 'USER', mapNamePattern: '*', actions: ['READ'] }]],
    ['to write alone', [{ role: 'USER', mapNamePattern: '*', actions: ['PUT', 'REMOVE'] }]],
    ['not to remove', [{ role: 'USER', mapNamePattern: '*', actions: ['READ', 'PUT'] }]],
    ['some fields alone', [{ role: 'USER', mapNamePattern: '*', actions: ['ALL'], allowedFields: ['name'] }]],
    ['all maps, and no topics, rooms or locks', [{ role: 'USER', mapNamePattern: 'conformance-*', actions: ['ALL'] }]],
  ])('makes no check with a user who may do %s, and says so in one sentence', async (_, securityPolicies) => {
    const url = await start({ ...secured, securityPolicies })
    const token = signToken(SECRET, { sub: 'ann', roles: ['USER'] })
    const { code, stderr, stdout } = await run(url, '--token', token)
    expect(stderr).toMatch(
      /^conformance: the user of the token may not do everything, .*: (No policy allows|On map) .* Give a token/,
    )
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect([stdout, code]).toEqual(['', 2])
  })

  test('makes no check of what is no Syncline server, says what it is, and ends', async () => {
    const silent = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    const talks = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    talks.on('connection', (socket) => socket.send('{"event":"welcome"}'))
    const open = await start({ mode: 'development', auth: 'none' })
    try {
      for (const [url, problem] of [
        [
          addressOf(silent),
          'no Syncline server speaks: the first message is AUTH_REQUIRED (SE3), and there was nothing',
        ],
        [addressOf(talks), 'no Syncline server speaks'],
        [open.replace(/ws$/, 'nothing'), 'HTTP 404 instead of a WebSocket. Is the path right?'],
        [open.replace(/^ws/, 'wss'), 'it does not speak TLS there.'],
      ] as const) {
        const { code, stderr } = await run(url, '--timeout', '500')
        expect(stderr).toContain(problem)
        expect(stderr.trim().split('\n')).toHaveLength(1)
        expect(code).toBe(3)
      }
    } finally {
      for (const server of [silent, talks]) {
        for (const client of server.clients) client.terminate()
        server.close()
      }
    }
  })

  test('says what is wrong with the command, or that nobody answers', async () => {
    for (const [args, problem] of [
      [[], 'Which server?'],
      [['client'], 'Which client?'],
      [['http://localhost'], 'no address of a WebSocket'],
      [['ws://x', '--encoding', 'xml'], '--encoding is json, msgpack or both'],
      [['ws://x', '--only', '3'], 'no rule'],
      [['ws://x', '--timeout', '0'], '--timeout'],
      [['ws://x', '--searched', 'x'], '--searched'],
      [['ws://x', '--what'], '--what'],
    ] as const) {
      const { code, stderr } = await run(...args)
      expect(stderr).toContain(problem)
      expect(code).toBe(2)
    }
    const { code, stderr } = await run('ws://127.0.0.1:1/ws', '--timeout', '500')
    expect(stderr).toContain('nobody answers at ws://127.0.0.1:1/ws: nothing listens there.')
    expect(code).toBe(3)
    expect((await run('--help')).stdout).toContain('npx @syncline/conformance')
  })
})
