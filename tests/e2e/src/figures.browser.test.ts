import { createRequire } from 'node:module'
import type * as Syncline from '@syncline/client'
import { buildSync } from 'esbuild'
import type { Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { DevServer } from './browser/dev-server.ts'
import { launch } from './browser/todo-page.ts'
import { WireClient } from './wire-client.ts'

const RECORDS = Number(process.env.SYNCLINE_FIGURE_RECORDS ?? 20_000)
const BATCH = 1_000

/** How long a client took until it could be used, and until it had everything. */
interface Times {
  readonly readyMs: number
  readonly firstRowMs: number
  readonly completeMs: number
  readonly size: number
}

test(`a browser takes in ${RECORDS} records, and has them again when it is opened next`, async () => {
  const server = new DevServer()
  onTestFinished(() => server[Symbol.asyncDispose]())
  await server.start()
  await seed(server.url)
  const browser = await launch()
  onTestFinished(() => browser.close())
  const context = await browser.newContext()

  const first = await measure(await context.newPage(), server.url)
  expect(first.size).toBe(RECORDS)
  const again = await measure(await context.newPage(), server.url)
  expect(again.size).toBe(RECORDS)
  console.log(`${RECORDS} records in Chromium with IndexedDB: ${say('first', first)}; ${say('next', again)}`)
})

const say = (what: string, { readyMs, firstRowMs, completeMs }: Times): string =>
  `${what} opening: ready after ${Math.round(readyMs)} ms, first rows after ${Math.round(firstRowMs)} ms, complete after ${Math.round(completeMs)} ms`

async function seed(url: string): Promise<void> {
  const token = await (await fetch(new URL('/dev/token', url))).text()
  const client = await WireClient.open(Number(new URL(url).port), token, 'msgpack')
  const millis = Date.now()
  for (let from = 0; from < RECORDS; from += BATCH) {
    const acknowledged = client.next((message) => (message.type === 'OP_ACK' ? message : undefined))
    const ops = Array.from({ length: BATCH }, (_, i) => ({
      id: `seed-${from + i}`,
      mapName: 'records',
      key: `record-${from + i}`,
      record: {
        value: { text: `What is written in record ${from + i}`, done: i % 3 === 0, createdAt: from + i },
        timestamp: { millis, counter: Math.floor((from + i) / 2), nodeId: `seed${i % 2}` },
      },
    }))
    client.send({ type: 'OP_BATCH', payload: { ops, writeConcern: 'MEMORY' } })
    await acknowledged
  }
  client.end()
}

/** Opens the records in a new page of the server's origin, by the client as applications bundle it. */
async function measure(page: Page, url: string): Promise<Times> {
  const entry = createRequire(import.meta.url).resolve('@syncline/client')
  const { outputFiles } = buildSync({
    stdin: { contents: `export { createClient, indexedDB } from ${JSON.stringify(entry)}`, resolveDir: '.' },
    bundle: true,
    minify: true,
    format: 'iife',
    globalName: 'syncline',
    write: false,
    conditions: ['@syncline/source'],
  })
  await page.goto(new URL('/health/live', url).href)
  await page.evaluate(outputFiles[0]?.text ?? '')
  const times = await page.evaluate(async (wanted) => {
    const { createClient, indexedDB } = (globalThis as unknown as { syncline: typeof Syncline }).syncline
    const startedAtMs = performance.now()
    const since = (): number => performance.now() - startedAtMs
    const client = createClient({
      storage: indexedDB('figures'),
      auth: async () => (await fetch('/dev/token')).text(),
    })
    const rows = client.map('records').query({ orderBy: [['createdAt', 'desc']], limit: 50 })
    const readyMs = await client.ready.then(since)
    let firstRowMs = 0
    const completeMs = await new Promise<number>((resolve) => {
      rows.subscribe(
        (state) => {
          if (state.rows.length > 0) firstRowMs ||= since()
          if (state.complete && client.map('records').size === wanted) resolve(since())
        },
        { immediate: true },
      )
    })
    const times = { readyMs, firstRowMs, completeMs, size: client.map('records').size }
    await client.close()
    return times
  }, RECORDS)
  await page.close()
  return times
}
