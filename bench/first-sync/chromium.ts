// The same in a real browser: a page of Chromium, IndexedDB, and a server at the other end of a socket.
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type * as Syncline from '@syncline/client'
import { build } from 'esbuild'
import { chromium, type Browser, type BrowserContext } from 'playwright-core'
import { Conversation } from '../lib/conversation.ts'
import { startSyncline } from '../lib/servers.ts'
import { signToken } from '../lib/session.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const FLAGS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run']
const OPS_PER_BATCH = 1_000

/** What one opening of a page took, in milliseconds on the clock. */
export interface Opening {
  /** Until local data is loaded. */
  readonly readyMs: number
  /** Until the query shows rows. */
  readonly firstRowsMs: number
  /** Until the query is live: it shows what the server has. */
  readonly liveMs: number
  /** Until everything is stored as well. */
  readonly storedMs: number
  /** CPU time of the page's main thread until the query is live, which neighbours on the machine disturb least. */
  readonly mainThreadMs: number
  /** The longest time for which the page did not answer. */
  readonly longestTaskMs: number
}

/** A first opening of a page and the next one of the same profile. */
export interface Openings {
  readonly first: Opening
  readonly next: Opening
}

/** The browser on the path; undefined where there is none. */
export function findChromium(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean)
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync)
}

/** Opens a page so often, each time in a profile of its own, over a map of so many records. */
export async function openPages(executablePath: string, records: number, count: number): Promise<readonly Openings[]> {
  const server = await startSyncline()
  let browser: Browser | undefined
  try {
    const port = await server.call<number>('port')
    await seed(port, records)
    const script = await bundledClient()
    browser = await chromium.launch({ executablePath, args: FLAGS })
    const all: Openings[] = []
    for (let i = 0; i < count; i++) {
      const context = await browser.newContext()
      const first = await openPage(context, port, script, records)
      all.push({ first, next: await openPage(context, port, script, records) })
      await context.close()
    }
    return all
  } finally {
    await browser?.close()
    await server.stop()
  }
}

async function seed(port: number, records: number): Promise<void> {
  const writer = await Conversation.open(port)
  const millis = Date.now()
  for (let from = 0; from < records; from += OPS_PER_BATCH) {
    const ops = Array.from({ length: Math.min(OPS_PER_BATCH, records - from) }, (_, n) => {
      const i = from + n
      const key = `todo:${((i * 7919) % records).toString().padStart(6, '0')}`
      const value = {
        title: `Buy ${i} litres of milk and a loaf of bread`,
        done: i % 3 === 0,
        list: `list-${i % 50}`,
        createdAt: millis - i * 1_000,
      }
      const timestamp = {
        millis: millis - ((i * 104_729) % 1_000_000),
        counter: i % 7,
        nodeId: `node-${i % 100}-5f3a9c1e`,
      }
      return { id: `op${i}`, mapName: 'todos', key, opType: 'PUT' as const, record: { value, timestamp } }
    })
    writer.send({ type: 'OP_BATCH', payload: { ops } })
    const { results } = (await writer.take('OP_ACK')).payload
    const failed = results.find(({ success }) => !success)
    if (failed !== undefined) throw new Error(`Not written: ${JSON.stringify(failed)}`)
  }
  writer.end()
}

/** The client as an application bundles it. */
async function bundledClient(): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: "export { createClient, indexedDB } from '@syncline/client'",
      resolveDir: new URL('.', import.meta.url).pathname,
    },
    bundle: true,
    minify: true,
    format: 'iife',
    globalName: 'syncline',
    platform: 'browser',
    write: false,
    conditions: ['@syncline/source'],
    logLevel: 'silent',
  })
  return outputFiles[0]?.text ?? ''
}

async function openPage(context: BrowserContext, port: number, script: string, records: number): Promise<Opening> {
  const page = await context.newPage()
  await page.goto(`http://127.0.0.1:${port}/health/live`)
  await page.evaluate(script)
  const token = await signToken()
  const devTools = await context.newCDPSession(page)
  await devTools.send('Performance.enable', { timeDomain: 'threadTicks' })
  const mainThreadMs = async (): Promise<number> => {
    const { metrics } = await devTools.send('Performance.getMetrics')
    return (metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0) * 1_000
  }
  const before = await mainThreadMs()
  await page.exposeFunction('mainThreadMs', async () => (await mainThreadMs()) - before)
  const opening = await page.evaluate(
    async ({ wanted, jwt }) => {
      const { createClient, indexedDB } = (globalThis as unknown as { syncline: typeof Syncline }).syncline
      let longestTaskMs = 0
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) longestTaskMs = Math.max(longestTaskMs, duration)
      }).observe({ type: 'longtask' })
      const startedAtMs = performance.now()
      const since = (): number => performance.now() - startedAtMs
      const client = createClient({ storage: indexedDB('first-sync'), auth: () => jwt })
      const todos = client.map<{ done: boolean; createdAt: number }>('todos')
      const query = todos.query({ where: { done: false }, orderBy: [['createdAt', 'desc']], limit: 50 })
      let firstRowsMs = 0
      const live = new Promise<number>((resolve) => {
        query.subscribe(({ rows, status }) => {
          if (rows.length > 0) firstRowsMs ||= since()
          if (status === 'live') resolve(since())
        })
      })
      const readyMs = await client.ready.then(since)
      const liveMs = await live
      const ownMs = await (globalThis as unknown as { mainThreadMs(): Promise<number> }).mainThreadMs()
      if (todos.size !== wanted) throw new Error(`The query is live over ${todos.size} records.`)
      await client.close()
      return { readyMs, firstRowsMs, liveMs, storedMs: since(), mainThreadMs: ownMs, longestTaskMs }
    },
    { wanted: records, jwt: token },
  )
  await page.close()
  return opening
}
