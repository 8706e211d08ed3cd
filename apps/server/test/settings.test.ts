import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CommandError } from '../src/failures.ts'
import { start } from '../src/start.ts'
import { newFolder, runToEnd, SECRET } from './command.ts'

const good = { SYNCLINE_JWT_SECRET: SECRET, SYNCLINE_STORAGE: 'memory', HOST: '127.0.0.1', PORT: '0' }

interface Fault {
  readonly what: string
  /** The file's name and text. */
  readonly file?: readonly [name: string, text: string]
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Every problem that is told, in order, each from its beginning to its end. */
  readonly told: readonly RegExp[]
}

const expected = ({ told }: Fault) =>
  told.map((pattern) => expect.stringMatching(new RegExp(`^${pattern.source}$`)) as string)

/** What is told for each fault, before anything starts. */
function each(faults: readonly Fault[]): void {
  test.each(faults)('$what', (fault) => (needsProcess(fault) ? checkRun(fault) : checkCall(fault)))
}

/** A run of the command costs half a second, and shows more only where flags are read or a module is loaded. */
const needsProcess = ({ args, file }: Fault): boolean => args !== undefined || /\.m?[jt]s$/.test(file?.[0] ?? '')

async function checkRun(fault: Fault): Promise<void> {
  const { file, args = [], env = {}, told } = fault
  const cwd = newFolder()
  if (file !== undefined) writeFileSync(join(cwd, file[0]), file[1])
  const named = file === undefined ? [] : ['--config', file[0]]
  const { exitCode, stdout, stderr } = await runToEnd(['start', ...named, ...args], { cwd, env: { ...good, ...env } })
  expect([exitCode, stdout]).toEqual([78, ''])
  const [first = '', ...rest] = stderr.trimEnd().split('\n')
  if (told.length === 1) expect([first.replace('syncline: ', ''), ...rest]).toEqual(expected(fault))
  else {
    expect(first).toBe(`syncline: ${told.length} problems`)
    expect(rest.map((line) => line.replace('  - ', ''))).toEqual(expected(fault))
  }
}

async function checkCall(fault: Fault): Promise<void> {
  const { file, env = {} } = fault
  const path = join(newFolder(), file?.[0] ?? '')
  if (file !== undefined) writeFileSync(path, file[1])
  const failure = await start(file === undefined ? {} : { config: path }, { ...good, ...env }).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(failure instanceof CommandError)) throw new Error('It started, or failed in another way', { cause: failure })
  expect(failure.problems.map((problem) => problem.replaceAll(path, file?.[0] ?? path))).toEqual(expected(fault))
  expect(failure.exitCode).toBe(78)
}

const json = (text: string): readonly [string, string] => ['app.json', text]

describe('a broken configuration file is told with file, line, cause and fix', () => {
  each([
    {
      what: 'a file that does not exist',
      args: ['--config', 'nowhere.json'],
      told: [/nowhere\.json does not exist: check --config or SYNCLINE_CONFIG\./],
    },
    { what: 'an empty JSON file', file: json(''), told: [/app\.json:1:1: this is not valid JSON: .+\./] },
    {
      what: 'JSON with a comma too many',
      file: json('{\n  "port": 0,\n}'),
      told: [
        /app\.json:3:1: this is not valid JSON: a name in double quotes is expected here \(a comma after the last entry is not allowed\)\./,
      ],
    },
    {
      what: 'JSON with a comma too few',
      file: json('{\n  "port": 0\n  "host": "::"\n}'),
      told: [/app\.json:3:3: this is not valid JSON: a comma is missing before this\./],
    },
    {
      what: 'JSON that ends too soon',
      file: json('{\n  "port": 0,\n  "connections": {\n'),
      told: [/app\.json:\d:\d: this is not valid JSON: .+\./],
    },
    {
      what: 'JSON with single quotes',
      file: json("{\n  'port': 0\n}"),
      told: [/app\.json:2:3: this is not valid JSON: text must stand in double quotes\./],
    },
    {
      what: 'JSON with a comment',
      file: json('{\n  // the port\n  "port": 0\n}'),
      told: [/app\.json:2:3: this is not valid JSON: comments are not allowed; a \.js or \.ts file may have them\./],
    },
    {
      what: 'JSON that holds a list',
      file: json('[]'),
      told: [/app\.json holds a list: give an object of settings, as in \{ "port": 8080 \}\./],
    },
    { what: 'JSON that holds null', file: json('null'), told: [/app\.json holds null: give an object .+\./] },
    {
      what: 'a port that is text',
      file: json('{\n  "log": "x",\n  "port": "http"\n}'),
      env: { PORT: '' },
      told: [/app\.json:3: port is "http": give a whole number from 0 to 65535\./, /app\.json:2: log is no option.+/],
    },
    {
      what: 'a port out of range',
      file: json('{\n\n  "port": 70000\n}'),
      env: { PORT: '' },
      told: [/app\.json:3: port is "70000": give a whole number from 0 to 65535\./],
    },
    {
      what: 'a host that is a boolean',
      file: json('{\n  "host": true\n}'),
      env: { HOST: '' },
      told: [/app\.json:2: host is true: give text\./],
    },
    {
      what: 'a storage that is nearly one',
      file: json('{\n  "storage": "sqlit:./x"\n}'),
      env: { SYNCLINE_STORAGE: '' },
      told: [/app\.json:2: storage is "sqlit:\.\/x": give sqlite:<path> or memory; did you mean sqlite\?\./],
    },
    {
      what: 'an unknown key',
      file: json('{\n  "port": 0,\n  "maxConnections": 3\n}'),
      told: [/app\.json:3: maxConnections is no option; did you mean connections\?/],
    },
    {
      what: 'a misspelt key of the server',
      file: json('{\n  "securityPolicy": []\n}'),
      told: [/app\.json:2: securityPolicy is no option; did you mean securityPolicies\?/],
    },
    {
      what: 'a misspelt key of the command',
      file: json('{\n  "storag": "memory"\n}'),
      told: [/app\.json:2: storag is no option; did you mean storage\?/],
    },
    {
      what: 'a misspelt key in a group',
      file: json('{\n  "connections": {\n    "compression": true,\n    "maxPayloads": 1\n  }\n}'),
      told: [/app\.json:[24]: connections\.maxPayloads is no option; did you mean connections\.maxPayload\?/],
    },
    {
      what: 'a value of the wrong type in a group',
      file: json('{\n  "connections": {\n    "compression": true,\n    "maxConnections": "many"\n  }\n}'),
      told: [/app\.json:4: connections\.maxConnections: .*expected number.*\./],
    },
    {
      what: 'a misspelt key in the group of a feature',
      file: json('{\n  "queries": {\n    "maxResultRow": 5\n  }\n}'),
      told: [/app\.json:[23]: queries\.maxResultRow is no option; did you mean queries\.maxResultRows\?/],
    },
    {
      what: 'a policy without a role',
      file: json(
        '{\n  "securityPolicies": [\n    { "role": "A", "mapNamePattern": "*", "actions": ["READ"] },\n    { "mapNamePattern": "*", "actions": ["READ"] }\n  ]\n}',
      ),
      told: [/app\.json:4: securityPolicies\.1\.role: .+\./],
    },
    {
      what: 'an action that does not exist',
      file: json(
        '{\n  "securityPolicies": [\n    {\n      "role": "A",\n      "mapNamePattern": "*",\n      "actions": ["WRITE"]\n    }\n  ]\n}',
      ),
      told: [/app\.json:6: securityPolicies\.0\.actions\.0: .+\./],
    },
    {
      what: 'a setting that is given twice',
      file: json('{\n  "connections": {\n    "backlog": 5,\n    "backlog": 6\n  }\n}'),
      told: [/app\.json:4: backlog is set for the second time: remove one of them\./],
    },
    {
      what: 'a setting that only a program can have',
      file: json('{\n  "listen": false\n}'),
      told: [/app\.json:2: listen is no setting of a file: remove it, or call createServer in a program of your own\./],
    },
    {
      what: 'a JavaScript file with a wrong syntax',
      file: ['app.js', 'export default {\n  port: 0,\n  host "x",\n}'],
      told: [/app\.js:3: the syntax is wrong: Unexpected string\./],
    },
    {
      what: 'a TypeScript file with a wrong syntax',
      file: ['app.ts', 'const port: number = 0\n\nexport default { port: }'],
      told: [/app\.ts:3: the syntax is wrong: .+\./],
    },
    {
      what: 'TypeScript that Node does not run',
      file: ['app.ts', 'export default { port: 0 }\nenum A { B }'],
      told: [/app\.ts:2: the syntax is wrong: TypeScript enum is not supported in strip-only mode\./],
    },
    {
      what: 'a file without a default export',
      file: ['app.mjs', 'export const port = 0'],
      told: [/app\.mjs has no default export: begin its object with "export default \{"\./],
    },
    {
      what: 'a file that throws',
      file: ['app.mjs', '\nthrow new Error("no luck")\nexport default {}'],
      told: [/app\.mjs:2:7: loading the file failed: no luck\./],
    },
    {
      what: 'a file that imports what is not there',
      file: ['app.mjs', 'import a from "a-package-that-is-not-there"\nexport default { a }'],
      told: [/app\.mjs:1: a-package-that-is-not-there is imported and not there: install it, or correct the import\./],
    },
    {
      what: 'a file that waits for ever',
      file: ['app.mjs', 'await new Promise(() => {})\nexport default {}'],
      told: [/app\.mjs waits for something that never comes: look at its awaits\./],
    },
    {
      what: 'a promise of settings',
      file: ['app.mjs', 'export default Promise.resolve({ port: 0 })'],
      told: [/app\.mjs holds a Promise: give an object of settings, as in \{ "port": 8080 \}\./],
    },
    {
      what: 'a Map of settings',
      file: ['app.mjs', 'export default new Map([["port", 0]])'],
      told: [/app\.mjs holds a Map: give an object of settings, as in \{ "port": 8080 \}\./],
    },
    {
      what: 'a setting that throws when it is read',
      file: ['app.mjs', 'export default {\n  get port() { throw new Error("no luck") },\n}'],
      told: [/app\.mjs:2:\d+: loading the file failed: no luck\./],
    },
    {
      what: 'an import whose syntax is wrong',
      file: ['app.mjs', 'import "data:text/javascript,export default { port: }"\nexport default {}'],
      told: [/app\.mjs: the syntax of a file that it imports is wrong: Unexpected token '\}'\./],
    },
    {
      what: 'an option of the server in a module',
      file: ['app.mjs', 'export default {\n  port: 0,\n  connections: {\n    idleTimeout: -1,\n  },\n}'],
      told: [/app\.mjs:4: connections\.idleTimeout: .+\./],
    },
    {
      what: 'a file of another kind',
      file: ['app.yaml', 'port: 0'],
      told: [/app\.yaml: a file that ends in "\.yaml" is not understood: give a \.ts, \.js, \.mjs or \.json file\./],
    },
  ])
})

test('a folder in the place of the file is told', async () => {
  const cwd = newFolder()
  mkdirSync(join(cwd, 'app.json'))
  const { exitCode, stderr } = await runToEnd(['start'], { cwd, env: { ...good, SYNCLINE_CONFIG: 'app.json' } })
  expect([exitCode, stderr]).toEqual([78, 'syncline: app.json is a folder: name the file in it.\n'])
})

describe('what flags and environment set wrongly is told with its name and a fix', () => {
  each([
    {
      what: 'a port that is none',
      env: { PORT: 'eighty' },
      told: [/PORT: port is "eighty": give a whole number from 0 to 65535\./],
    },
    {
      what: 'a negative port in a flag',
      args: ['--port=-1'],
      told: [/--port: port is "-1": give a whole number from 0 to 65535\./],
    },
    {
      what: 'a host with a scheme',
      env: { HOST: 'http://x' },
      told: [/HOST: host is "http:\/\/x": give an address or name of this machine, such as 127\.0\.0\.1\./],
    },
    {
      what: 'PostgreSQL',
      env: { SYNCLINE_STORAGE: 'postgres://app@db/app' },
      told: [
        /SYNCLINE_STORAGE: storage is "postgres:\/\/app@db\/app": PostgreSQL is not offered yet: give sqlite:<path> or memory\./,
      ],
    },
    {
      what: 'SQLite without a path',
      args: ['--storage', 'sqlite:'],
      told: [/--storage: storage is "sqlite:": name the file after sqlite:, as in sqlite:\.\/data\/syncline\.db\./],
    },
    {
      what: 'SQLite in memory, which would be a file of that name',
      args: ['--storage', 'sqlite::memory:'],
      told: [
        /--storage: storage is "sqlite::memory:": give memory for records that are gone at the end, or name a file\./,
      ],
    },
    {
      what: 'a file that is not there, of which nobody knows whether it holds the secret',
      args: ['--config', 'gone.json'],
      env: { SYNCLINE_JWT_SECRET: '' },
      told: [/gone\.json does not exist: check --config or SYNCLINE_CONFIG\./],
    },
    {
      what: 'a way of signing in that does not exist',
      args: ['--auth', 'off'],
      told: [/--auth: auth is "off": give jwt or none\./],
    },
    {
      what: 'a log level that does not exist',
      env: { SYNCLINE_LOG: 'loud' },
      told: [/SYNCLINE_LOG: logLevel is "loud": give debug, info, warn, error\./],
    },
    {
      what: 'a misspelt name in the environment',
      env: { SYNCLINE_STORGE: 'memory' },
      told: [/SYNCLINE_STORGE, set in the environment, is no setting: did you mean SYNCLINE_STORAGE\?/],
    },
    {
      what: 'no secret',
      env: { SYNCLINE_JWT_SECRET: '' },
      told: [
        /no secret is set, and anybody could sign in: put a random text of at least 32 characters .+ --secret-file .+ --auth none\./,
      ],
    },
    {
      what: 'a short secret',
      env: { SYNCLINE_JWT_SECRET: 'short' },
      told: [/SYNCLINE_JWT_SECRET: jwtSecret has 5 characters: give at least 32 random ones\./],
    },
    {
      what: 'a well-known secret',
      env: { SYNCLINE_JWT_SECRET: 'topgun-secret-dev' },
      told: [/SYNCLINE_JWT_SECRET: jwtSecret is a well-known one that anybody could sign with: give a random text\./],
    },
    {
      what: 'a secret file that is not there',
      args: ['--secret-file', 'gone'],
      told: [/--secret-file: the file gone does not exist: name a file that holds the secret\./],
    },
    {
      what: 'a secret file that is empty',
      env: { SYNCLINE_JWT_SECRET: '', SYNCLINE_JWT_SECRET_FILE: '/dev/null' },
      told: [
        /SYNCLINE_JWT_SECRET_FILE \(\/dev\/null\): the secret cannot be used: it is empty: give a random text of at least 32 characters\./,
      ],
    },
    {
      what: 'a secret and a secret file',
      env: { SYNCLINE_JWT_SECRET_FILE: 'x' },
      told: [/SYNCLINE_JWT_SECRET and SYNCLINE_JWT_SECRET_FILE are both set: keep one of them\./],
    },
    {
      what: 'everything at once',
      file: json('{\n  "connections": 3,\n  "auht": "none"\n}'),
      args: ['--storage', 'disk'],
      env: { PORT: 'x', SYNCLINE_JWT_SECRET: '' },
      told: [
        /PORT: port is "x".+/,
        /--storage: storage is "disk".+/,
        /no secret is set.+/,
        /app\.json:2: connections: .+/,
        /app\.json:3: auht is no option; did you mean auth\?/,
      ],
    },
    {
      what: 'an unknown flag',
      args: ['--prot', '1'],
      told: [/unknown option '--prot', did you mean --port\? See "syncline start --help"\./],
    },
    {
      what: 'a flag without its value',
      args: ['--port'],
      told: [/option '--port <n>' argument missing\. See "syncline start --help"\./],
    },
    { what: 'a word too many', args: ['now'], told: [/too many arguments.+ See "syncline start --help"\./] },
  ])
})

test('an unknown command is told with the nearest one', async () => {
  const { exitCode, stderr } = await runToEnd(['strat'])
  expect([exitCode, stderr]).toEqual([
    78,
    'syncline: unknown command \'strat\', did you mean start? See "syncline --help".\n',
  ])
})

test('an unknown flag of token is told before the missing ones', async () => {
  const { exitCode, stderr } = await runToEnd(['token', '--usr', 'alice'])
  expect([exitCode, stderr]).toEqual([
    78,
    'syncline: unknown option \'--usr\', did you mean --user? See "syncline token --help".\n',
  ])
})

test('a name of the environment that means nothing is told, and does no harm', async () => {
  const { exitCode, stderr } = await runToEnd(['start', '--host', '203.0.113.1'], {
    env: { ...good, SYNCLINE_ADMIN_USERNAME: 'root' },
  })
  expect(stderr).toContain('SYNCLINE_ADMIN_USERNAME is set in the environment, and means nothing to this version.')
  expect(stderr).toContain(
    'syncline: 203.0.113.1 is no address of this machine: give one that is with --host or HOST, for example 127.0.0.1.',
  )
  expect(exitCode).toBe(78)
})

describe('help', () => {
  test.each([['--help'], ['start --help'], ['dev --help'], ['token --help']])(
    'syncline %s goes to stdout with code 0 and fits a terminal',
    async (line) => {
      const { exitCode, stdout, stderr } = await runToEnd(line.split(' '))
      expect([exitCode, stderr]).toEqual([0, ''])
      expect(stdout).toContain('Examples:')
      expect(stdout.split('\n').filter((each) => each.length > 120)).toEqual([])
    },
  )

  test('of start names every setting with its flag, environment name and default, once', async () => {
    const { stdout } = await runToEnd(['start', '--help'])
    const words = stdout.slice(0, stdout.indexOf('Where a setting')).replaceAll(/\s+/g, ' ')
    for (const text of [
      '--port <n>',
      'env: PORT; default: 8080',
      '--host <address>',
      'env: HOST; default: 0.0.0.0',
      '--storage <where>',
      'env: SYNCLINE_STORAGE; default: sqlite:./data/syncline.db',
      '--auth <how>',
      'env: SYNCLINE_AUTH; default: jwt',
      '--secret-file <path>',
      'SYNCLINE_JWT_SECRET_FILE',
      '--log <level>',
      'env: SYNCLINE_LOG, RUST_LOG; default: info',
      '--config <path>',
      'env: SYNCLINE_CONFIG',
    ])
      expect(words.split(text)).toHaveLength(2)
  })

  test.each([['help'], ['help start'], ['help token']])('is found by syncline %s too', async (line) => {
    const { exitCode, stdout } = await runToEnd(line.split(' '))
    expect(exitCode).toBe(0)
    expect(stdout).toBe((await runToEnd([...line.split(' ').slice(1), '--help'])).stdout)
  })

  test('is shown, with code 78, where no command is given', async () => {
    const { exitCode, stdout, stderr } = await runToEnd([])
    expect([exitCode, stdout]).toEqual([78, ''])
    expect(stderr).toContain('Usage: syncline')
  })
})
