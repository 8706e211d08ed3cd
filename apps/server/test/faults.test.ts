import { chmodSync, mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import {
  connect,
  keys,
  canMount,
  mountFolder,
  newFolder,
  runToEnd,
  SECRET,
  startReady,
  stop,
  tokenFor,
  write,
} from './command.ts'

const env = { PORT: '0', HOST: '127.0.0.1', SYNCLINE_JWT_SECRET: SECRET, SYNCLINE_LOG: 'error' }
const tokenEnv = { SYNCLINE_JWT_SECRET: SECRET }

/** Starts a server that must end with this code and one sentence. */
async function expectRefusal(
  options: { cwd: string; env?: Record<string, string> },
  exitCode: number,
  sentence: RegExp,
): Promise<void> {
  const run = await runToEnd(['start'], { cwd: options.cwd, env: { ...env, ...options.env } })
  expect(run.stderr).toMatch(new RegExp(`^syncline: [^\\n]*${sentence.source}[^\\n]*\\n$`))
  expect(run.stdout).toBe('')
  expect(run.exitCode).toBe(exitCode)
}

/** A data folder with one record in it. */
async function folderWithData(): Promise<{ cwd: string; token: string }> {
  const cwd = newFolder()
  const token = await tokenFor(cwd, [], tokenEnv)
  const server = await startReady(['start'], { cwd, env })
  expect(await write(await connect(server.url, token), 'kept', { text: 'here' })).toMatchObject({ success: true })
  expect(await stop(server)).toBe(0)
  return { cwd, token }
}

async function expectData({ cwd, token }: { cwd: string; token: string }): Promise<void> {
  const server = await startReady(['start'], { cwd, env })
  expect(await keys(await connect(server.url, token))).toContain('kept')
  expect(await stop(server)).toBe(0)
}

test('a port in use: code 69', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as { port: number }
  try {
    await expectRefusal(
      { cwd: newFolder(), env: { PORT: String(port) } },
      69,
      new RegExp(
        `port ${port} on 127\\.0\\.0\\.1 is in use by another program: stop that one, or choose another with --port or PORT\\.`,
      ),
    )
  } finally {
    other.close()
  }
})

test('a data folder that may not be written: code 73', async () => {
  let folder: string
  if (canMount) folder = mountFolder('ro')
  else {
    folder = newFolder()
    chmodSync(folder, 0o555)
  }
  await expectRefusal(
    { cwd: newFolder(), env: { SYNCLINE_STORAGE: `sqlite:${folder}/app.db` } },
    73,
    /app\.db: let this process write the file and its folder, or choose another path/,
  )
})

test('a file where a folder should be: code 73', async () => {
  const cwd = newFolder()
  writeFileSync(join(cwd, 'data'), '')
  await expectRefusal({ cwd }, 73, /It was not possible to open .*syncline\.db: let this process write/)
})

test('a data file that a newer version made: code 73, and the file is left as it is', async () => {
  const folder = await folderWithData()
  const path = join(folder.cwd, 'data', 'syncline.db')
  const setVersion = (change: (version: number) => number): void => {
    const database = new Database(path)
    database.pragma(`user_version = ${change(database.pragma('user_version', { simple: true }) as number)}`)
    database.close()
  }
  setVersion((version) => version + 7)
  await expectRefusal(folder, 73, /syncline\.db has schema version \d+, which a newer Syncline made/)
  setVersion((version) => version - 7)
  await expectData(folder)
})

test('a data file that is no database: code 73, and the file is left as it is', async () => {
  const cwd = newFolder()
  const path = join(cwd, 'data', 'syncline.db')
  mkdirSync(join(cwd, 'data'))
  const text = 'Dear diary, '.repeat(2_000)
  writeFileSync(path, text)
  await expectRefusal(
    { cwd },
    73,
    /syncline\.db is damaged or no database of Syncline: restore it from a backup, or move it away to start afresh/,
  )
  expect(readFileSync(path, 'utf8')).toBe(text)
})

test('a database of another application: code 73, and the file is left as it is', async () => {
  const cwd = newFolder()
  const path = join(cwd, 'app.db')
  const other = new Database(path)
  other.exec('create table t (x); insert into t values (1)')
  other.close()
  const before = readFileSync(path)
  await expectRefusal(
    { cwd, env: { SYNCLINE_STORAGE: 'sqlite:app.db' } },
    73,
    /app\.db is a database of another application: choose another path\./,
  )
  expect(readFileSync(path).equals(before)).toBe(true)
})

test('a second process on the same file: code 73, and the first one goes on', async () => {
  const cwd = newFolder()
  const token = await tokenFor(cwd, [], tokenEnv)
  const first = await startReady(['start'], { cwd, env })
  const client = await connect(first.url, token)
  await expectRefusal(
    { cwd },
    73,
    /syncline\.db is in use by another process: stop that server, or give this one a path of its own\./,
  )
  expect(await write(client, 'kept', { text: 'still' })).toMatchObject({ success: true })
  expect(await stop(first)).toBe(0)
})

test('the lock of a server that was killed does not outlive it', async () => {
  const folder = await folderWithData()
  const killed = await startReady(['start'], { cwd: folder.cwd, env })
  expect(await stop(killed, 'SIGKILL')).toBe('SIGKILL')
  await expectData(folder)
})

test.runIf(canMount)('a disk that is full at the start: code 73', async () => {
  const folder = mountFolder('size=64k')
  fill(folder)
  await expectRefusal({ cwd: newFolder(), env: { SYNCLINE_STORAGE: `sqlite:${folder}/app.db` } }, 73, /app\.db/)
})

test.runIf(canMount)(
  'a disk that fills up: writes are refused by their code, the server stays, and nothing that it acknowledged is lost',
  async () => {
    const folder = mountFolder('size=2m')
    const cwd = newFolder()
    const storage = { ...env, SYNCLINE_STORAGE: `sqlite:${folder}/app.db` }
    const token = await tokenFor(cwd, [], tokenEnv)
    const ballast = join(folder, 'ballast')
    writeFileSync(ballast, Buffer.alloc(800_000))
    const server = await startReady(['start'], { cwd, env: storage })
    const client = await connect(server.url, token)

    const acknowledged: string[] = []
    let refusal: Awaited<ReturnType<typeof write>>
    for (let i = 0; i < 200 && refusal === undefined; i++) {
      const result = await write(client, `key-${i}`, { text: 'x'.repeat(20_000) })
      if (result?.success === true) acknowledged.push(`key-${i}`)
      else refusal = result
    }
    expect(acknowledged.length).toBeGreaterThan(0)
    expect(refusal).toMatchObject({ success: false, errorCode: 'STORAGE_FULL' })
    expect((await fetch(`${server.url}/health/ready`)).status).toBe(200)

    writeFileSync(ballast, '')
    let recovered = await write(client, 'kept', { text: 'small' })
    for (let tries = 0; tries < 100 && recovered?.success !== true; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      recovered = await write(client, 'kept', { text: 'small' })
    }
    expect(recovered).toMatchObject({ success: true, achievedLevel: 'PERSISTED' })
    expect(await stop(server, 'SIGKILL')).toBe('SIGKILL')

    const again = await startReady(['start'], { cwd, env: storage })
    const found = new Set(await keys(await connect(again.url, token)))
    expect([...acknowledged, 'kept'].filter((key) => !found.has(key))).toEqual([])
    expect(await stop(again)).toBe(0)
  },
)

test.runIf(canMount)(
  'INV-24: a disk that is full at the end: code 73, and a sentence that says what may be missing',
  async () => {
    const folder = mountFolder('size=2m')
    const cwd = newFolder()
    writeFileSync(join(cwd, 'syncline.config.json'), '{ "shutdownTimeoutMs": 300 }')
    const storage = { ...env, SYNCLINE_STORAGE: `sqlite:${folder}/app.db` }
    const server = await startReady(['start'], { cwd, env: storage })
    const client = await connect(server.url, await tokenFor(cwd, [], tokenEnv))
    fill(folder)
    expect(await write(client, 'lost', { text: 'x'.repeat(100_000) })).toMatchObject({ errorCode: 'STORAGE_FULL' })
    expect(await stop(server)).toBe(73)
    expect(server.stderr()).toMatch(
      /^syncline: the server has stopped, and not all is stored\. Storage refused .+ may not be stored\.$/m,
    )
  },
)

/** Writes until there is no room for a byte more. */
function fill(folder: string): void {
  const { bavail, bsize } = statfsSync(folder)
  writeFileSync(join(folder, 'ballast'), Buffer.alloc(bavail * bsize))
}
