import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createServer } from '@syncline/server'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { codeBlocks, type CodeBlock } from './code-blocks.ts'

const run = promisify(execFile)
const POLL = { timeout: 20_000, interval: 100 }
/** Beside the package's `node_modules`, so that what the code imports is found. */
const folder = fileURLToPath(new URL('../.blocks', import.meta.url))

/** What kind of code it is decides how it is run: a suite of tests, a server that runs until it is stopped, or the rest. */
const isSuite = ({ code }: CodeBlock): boolean => code.includes('/testing')
const isServer = ({ code }: CodeBlock): boolean => code.includes('createServer(')
const fileOf = (block: CodeBlock): string =>
  join(folder, `${block.place.replaceAll(/[^\w]+/g, '-')}${isSuite(block) ? '.test' : ''}.ts`)

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  for (const block of codeBlocks) writeFileSync(fileOf(block), `${block.code}export {}\n`)
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: '../tsconfig.json', include: ['*.ts'] }))
  writeFileSync(join(folder, 'vitest.config.ts'), "export { default } from '../vitest.config.ts'\n")
})

test('there is code in the documents', () => {
  expect(codeBlocks.length).toBeGreaterThan(5)
})

test('the code in the documents has no type error', async () => {
  const output = await run('tsc', ['-p', folder]).then(
    () => '',
    ({ stdout }: { stdout: string }) => stdout,
  )
  expect(output).toBe('')
})

describe.for(codeBlocks.map((block) => [block.place, block] as const))('%s', ([, block]) => {
  if (isSuite(block)) {
    test('has tests that pass', async () => {
      const { stdout } = await run('vitest', ['run', '--root', folder, '--no-color', fileOf(block)])
      expect(stdout).toMatch(/Tests +\d+ passed/)
    })
    return
  }
  if (isServer(block)) {
    test('starts, and stops when it is told to', async () => {
      const port = await findFreePort()
      const { stop } = start(block, block.code.replace('port: 8080', `port: ${port}`))
      await expect.poll(() => isReady(port), POLL).toBe(true)
      expect(await stop()).toEqual([0, null])
    })
    return
  }
  test('prints what it says', async () => {
    expect(block.prints).not.toEqual([])
    const server = createServer({ auth: 'none', host: '127.0.0.1', logLevel: 'error' })
    onTestFinished(() => server.shutdown())
    await server.ready()
    const address = `ws://127.0.0.1:${server.port}/`
    const { output } = start(block, block.code.replaceAll(/wss?:\/\/(?:localhost:8080|example\.com)\//g, address))
    await expect.poll(() => missing(output(), block.prints), POLL).toEqual([])
  })
})

/** Runs code in a process of its own, in an empty folder. Browser storage is there, as in a browser. */
function start(block: CodeBlock, code: string): { output: () => string; stop: () => Promise<unknown[]> } {
  writeFileSync(fileOf(block), code)
  const cwd = mkdtempSync(join(tmpdir(), 'syncline-documents-'))
  const child = spawn(
    process.execPath,
    ['--conditions=@syncline/source', '--import', import.meta.resolve('fake-indexeddb/auto'), fileOf(block)],
    { cwd, env: { ...process.env, NO_COLOR: '1', SYNCLINE_JWT_SECRET: 'only for the documents, thirty-two or more' } },
  )
  onTestFinished(() => {
    child.kill('SIGKILL')
    rmSync(cwd, { recursive: true, force: true })
  })
  const ended = once(child, 'exit')
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()))
  return {
    output: () => output,
    stop: () => {
      child.kill('SIGTERM')
      return ended
    },
  }
}

/** The announced lines of which the first has not come after those before it; with them what has come instead. */
function missing(output: string, lines: readonly string[]): readonly string[] {
  let from = 0
  for (const [index, line] of lines.entries()) {
    const at = output.indexOf(line, from)
    if (at < 0) return [...lines.slice(index), `but there is: ${output}`]
    from = at + line.length
  }
  return []
}

const isReady = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/health/ready`).then(
    ({ ok }) => ok,
    () => false,
  )

async function findFreePort(): Promise<number> {
  const probe = createTcpServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
