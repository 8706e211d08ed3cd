// How long the command of `apps/server` takes until it can be connected to, beside a bare `ws` server.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median } from '../lib/histogram.ts'
import { pinned } from '../lib/processes.ts'
import type { Suite } from '../lib/suite.ts'

const CLI = fileURLToPath(new URL('../../apps/server/dist/cli.js', import.meta.url))
const BARE_SCRIPT = fileURLToPath(new URL('bare.js', import.meta.url))
/** The first start reads files that the next ones find in memory. */
const WARM_UPS = 1
const STARTS = 11
const STARTS_QUICK = 3
const TIMEOUT_MS = 30_000

const BARE = 'bare ws'
const SQLITE = 'syncline start, empty SQLite'
const MEMORY = 'syncline start, memory'

/** Milliseconds from the start of the process to the line that says its port. */
export const suite: Suite = {
  name: 'startup',
  title: 'from the start of the process to ready, each in a fresh folder; the server is built, as it is published',
  async run(settings, log) {
    if (!existsSync(CLI)) {
      log('skipped: apps/server is not built. Run `pnpm build` first.')
      return []
    }
    try {
      await timeStart(SQLITE)
    } catch (error) {
      log(`skipped: what is built does not start. Run \`pnpm build\` again. ${(error as Error).message.trim()}`)
      return []
    }
    const times = new Map<string, number[]>([BARE, MEMORY, SQLITE].map((name) => [name, []]))
    const count = settings.isQuick ? STARTS_QUICK : STARTS
    for (let i = 0; i < count + WARM_UPS; i++) {
      for (const [name, all] of times) {
        const ms = await timeStart(name)
        if (i >= WARM_UPS) all.push(ms)
      }
    }
    const of = (name: string): readonly number[] => times.get(name) ?? []
    const note = (name: string): string =>
      `${count} starts, ${Math.min(...of(name)).toFixed(0)} to ${Math.max(...of(name)).toFixed(0)} ms`
    const share = (name: string): number => median(of(name).map((ms, i) => ms / (of(BARE)[i] as number)))
    const row = (name: string) => ({ name, figure: median(of(name)), unit: 'ms', note: note(name) }) as const
    return [
      row(BARE),
      { ...row(MEMORY), ratio: { of: BARE, value: share(MEMORY) } },
      { ...row(SQLITE), goal: 400, ratio: { of: BARE, value: share(SQLITE) } },
    ]
  },
}

async function timeStart(name: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-bench-'))
  const storage = name === SQLITE ? `sqlite:${join(folder, 'data', 'syncline.db')}` : 'memory'
  const script =
    name === BARE
      ? [BARE_SCRIPT]
      : [CLI, 'start', '--host', '127.0.0.1', '--port', '0', '--auth', 'none', '--storage', storage, '--log', 'error']
  const [file, ...args] = pinned([process.execPath, ...script], 'server')
  const start = performance.now()
  const child = spawn(file, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  try {
    return await new Promise<number>((resolve, reject) => {
      let [output, errors] = ['', '']
      const timer = setTimeout(() => reject(new Error(`Not ready within ${TIMEOUT_MS} ms: ${errors}`)), TIMEOUT_MS)
      child.stdout.on('data', (data: Buffer) => {
        output += data.toString()
        if (!/PORT=\d/.test(output)) return
        clearTimeout(timer)
        resolve(performance.now() - start)
      })
      child.stderr.on('data', (data: Buffer) => (errors += data.toString()))
      child.once('exit', (code) => {
        clearTimeout(timer)
        reject(new Error(`Ended with ${code} before it was ready: ${errors}`))
      })
    })
  } finally {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(timer)
    rmSync(folder, { recursive: true, force: true })
  }
}
