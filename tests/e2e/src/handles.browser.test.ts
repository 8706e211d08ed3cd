import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteStorage } from '@syncline/storage/sqlite'
import type { BrowserContext, Page } from 'playwright-core'
import { expect, onTestFinished, test, vi } from 'vitest'
import { HandlesServer, type InPage } from './browser/handles-page.ts'
import { launch } from './browser/todo-page.ts'
import { until } from './until.ts'

/** For machines that have much else to do. */
const LIMIT_MS = 60_000
vi.setConfig({ testTimeout: 5 * LIMIT_MS })

async function start(): Promise<HandlesServer> {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-handles-'))
  const server = new HandlesServer(() => ({
    storage: sqliteStorage({ path: join(folder, 'data.db') }),
    search: { maps: { todos: { fields: ['text'] } } },
  }))
  onTestFinished(async () => {
    await server[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })
  await server.start()
  return server
}

/** Two browsers. */
async function devices(): Promise<readonly [BrowserContext, BrowserContext]> {
  const browser = await launch()
  onTestFinished(() => browser.close())
  return [await browser.newContext(), await browser.newContext()]
}

/** Waits until a page answers what it should. */
async function shows<T>(what: string, read: () => Promise<T>, wanted: T): Promise<void> {
  let seen: T | undefined
  await until(
    async () => JSON.stringify((seen = await read())) === JSON.stringify(wanted),
    () => `${what} is ${JSON.stringify(wanted)}; it is ${JSON.stringify(seen)}`,
    LIMIT_MS,
  )
}

const votes = (page: Page): Promise<number> =>
  page.evaluate(() => (globalThis as unknown as InPage).db.counters.votes('milk').get())

const add = (page: Page, n: number): Promise<unknown> =>
  page.evaluate(
    (n) => (globalThis as unknown as InPage).db.counters.votes('milk').add(n).wait('local').then(Boolean),
    n,
  )

const tags = (page: Page): Promise<unknown[]> =>
  page.evaluate(() => [...(globalThis as unknown as InPage).db.sets.tags('milk').get()])

const pending = (page: Page): Promise<number> =>
  page.evaluate(() => (globalThis as unknown as InPage).db.status.get().pending)

const connection = (page: Page): Promise<string> =>
  page.evaluate(() => (globalThis as unknown as InPage).db.status.get().connection)

async function killTab(page: Page): Promise<void> {
  const crashed = page.waitForEvent('crash')
  void page.goto('chrome://crash').catch(() => {})
  await crashed
  await page.close()
}

test('[CN1] counters in two browsers count each addition once: two tabs, the server away, a reload, a killed tab', async () => {
  const server = await start()
  const [one, other] = await devices()
  const [first, second, third] = [await server.visit(one), await server.visit(one), await server.visit(other)]
  const pages = [first, second, third]
  for (const page of pages) await add(page, 1)
  for (const page of pages) await shows('all', () => votes(page), 3)

  await server.down()
  await shows('without a server', () => connection(first), 'offline')
  await add(first, 10)
  await add(second, 100)
  await add(third, 1_000)
  await add(third, -3)
  await server.reload(first)
  await shows('after a reload', () => votes(first), 13)
  await killTab(second)
  await shows('what the killed tab had added', () => votes(first), 113)
  await add(first, 20)
  await add(first, -20)

  await server.up()
  for (const page of [first, third]) {
    await page.evaluate(() => (globalThis as unknown as InPage).db.connect())
    await shows('everything', () => votes(page), 1_110)
    await shows('what waits', () => pending(page), 0)
  }
  await server.reload(third)
  await shows('everything, once more', () => votes(third), 1_110)
  const fresh = await server.visit(other)
  await shows('everything, in a new tab', () => votes(fresh), 1_110)
})

test('[OR2] sets in two browsers keep what one adds while the other removes it, over a reload without the server', async () => {
  const server = await start()
  const [one, other] = await devices()
  const [first, third] = [await server.visit(one), await server.visit(other)]
  await first.evaluate(async () => {
    const set = (globalThis as unknown as InPage).db.sets.tags('milk')
    set.add('urgent')
    set.add({ id: 1 })
    await set.add('home').wait('memory')
  })
  await shows('all three', () => tags(third), ['urgent', { id: 1 }, 'home'])

  await server.down()
  await shows('without a server', () => connection(first), 'offline')
  await shows('without a server', () => connection(third), 'offline')
  const change = (page: Page): Promise<unknown> =>
    page.evaluate(async () => {
      const set = (globalThis as unknown as InPage).db.sets.tags('milk')
      set.delete('home')
      await set.add('urgent').wait('local')
    })
  await change(first)
  await third.evaluate(async () => {
    const set = (globalThis as unknown as InPage).db.sets.tags('milk')
    set.delete('urgent')
    await set.delete({ id: 1 }).wait('local')
  })
  await server.reload(first)
  await server.reload(third)
  await shows('the one after a reload', () => tags(first), ['urgent', { id: 1 }])
  await shows('the other after a reload', () => tags(third), ['home'])

  await server.up()
  for (const page of [first, third]) {
    await page.evaluate(() => (globalThis as unknown as InPage).db.connect())
    await shows('what is left', () => tags(page), ['urgent'])
    await shows('what waits', () => pending(page), 0)
  }
})

test('[LK5] a lock goes to the next browser when the tab that holds it is killed, and what that tab held writes nothing', async () => {
  const server = await start()
  const [one, other] = await devices()
  const [holder, sibling, waiter] = [await server.visit(one), await server.visit(one), await server.visit(other)]
  const take = (page: Page): Promise<number> =>
    page.evaluate(async () => {
      const inPage = globalThis as unknown as InPage
      inPage.lock = await inPage.db.lock('invoice', { ttlMs: 60_000 })
      return inPage.lock.fencingToken
    })
  const first = await take(holder)
  const refused = await sibling.evaluate(() =>
    (globalThis as unknown as InPage).db
      .lock('invoice', { ttlMs: 1_000, waitMs: 0 })
      .catch(({ code }) => code as string),
  )
  expect(refused).toBe('TIMEOUT')

  const next = take(waiter)
  await until(
    () => server.server.inspect()['locks']?.['waiting'] === 1,
    () => 'the other browser waits for the lock',
  )
  await killTab(holder)
  expect(await next).toBeGreaterThan(first)

  const write = (page: Page, token: number): Promise<string> =>
    page.evaluate(
      (fencingToken) =>
        (globalThis as unknown as InPage).db.maps.todos
          .set('t', { text: String(fencingToken), rank: 1, note: '' }, { fence: { name: 'invoice', fencingToken } })
          .wait('memory')
          .then(
            () => 'written',
            ({ code }) => code as string,
          ),
      token,
    )
  expect(await write(waiter, await next)).toBe('written')
  expect(await write(sibling, first)).toBe('STALE_TOKEN')

  await server.reload(waiter)
  expect(await take(sibling)).toBeGreaterThan(await next)
})

test('[QY10] a window with `select` and `after` is the same in two browsers, over changes, a reload and without the server', async () => {
  const server = await start()
  const [one, other] = await devices()
  const [reader, writer] = [await server.visit(one), await server.visit(other)]
  await writer.evaluate(async () => {
    const { todos } = (globalThis as unknown as InPage).db.maps
    for (let i = 1; i <= 9; i++) todos.set(`t${i}`, { text: `todo ${i}`, rank: i, note: '' })
    await todos.set('t0', { text: 'todo 0', rank: 0, note: '' }).wait('persisted')
  })
  const look = (page: Page): Promise<string[]> =>
    page.evaluate(() => {
      const { status, rows, hasMore } = (globalThis as unknown as InPage).shown.get()
      return [status, ...rows.map(({ value }) => JSON.stringify(value)), hasMore ? 'more' : 'end']
    })
  const open = (page: Page, after?: string): Promise<void> =>
    page.evaluate((after) => {
      const inPage = globalThis as unknown as InPage
      inPage.told = 0
      inPage.shown = inPage.db.maps.todos.query({
        where: { rank: { $gte: 0 } },
        orderBy: [
          ['rank', 'asc'],
          ['text', 'desc'],
        ],
        limit: 2,
        select: ['text'],
        ...(after === undefined ? {} : { after }),
      })
      let { rows } = inPage.shown.get()
      inPage.shown.subscribe((now) => {
        if (now.rows !== rows) inPage.told++
        rows = now.rows
      })
    }, after)
  const rows = (...numbers: number[]): string[] => numbers.map((n) => JSON.stringify({ text: `todo ${n}` }))
  const write = (source: string): Promise<void> => writer.evaluate(`(${source})(db.maps.todos)`)

  await open(reader)
  await shows('the beginning', () => look(reader), ['live', ...rows(0, 1), 'more'])
  await write("(todos) => todos.set('s', { text: 'todo 33', rank: 0.5, note: '' }).wait('memory').then(() => {})")
  await shows('one more inside', () => look(reader), ['live', ...rows(0, 33), 'more'])
  const told = await reader.evaluate(() => (globalThis as unknown as InPage).told)
  await write("(todos) => todos.update('s', (todo) => { todo.note = 'not selected' }).wait('memory').then(() => {})")
  await write("(todos) => todos.delete('t0').wait('memory').then(() => {})")
  await shows('one gone', () => look(reader), ['live', ...rows(33, 1), 'more'])
  expect(await reader.evaluate(() => (globalThis as unknown as InPage).told)).toBe(told + 1)
  await reader.evaluate(() => (globalThis as unknown as InPage).shown.loadMore())
  await shows('twice as many', () => look(reader), ['live', ...rows(33, 1, 2, 3), 'more'])
  const cursor = await reader.evaluate(() => (globalThis as unknown as InPage).shown.get().nextCursor)

  await server.down()
  await reader.evaluate(() => (globalThis as unknown as InPage).db.close())
  await server.reload(reader)
  await open(reader, cursor)
  await shows('what comes after, from the disk', () => look(reader), ['local', ...rows(4, 5), 'more'])
  await server.up()
  await reader.evaluate(() => (globalThis as unknown as InPage).db.connect())
  await writer.evaluate(() => (globalThis as unknown as InPage).db.connect())
  await write("(todos) => todos.update('t4', (todo) => { todo.rank = 6.5 }).wait('memory').then(() => {})")
  await shows('what comes after, in step again', () => look(reader), ['live', ...rows(5, 6), 'more'])
  expect(
    await reader.evaluate(async () => {
      const asked = await (globalThis as unknown as InPage).shown.once({ from: 'server' })
      return asked.map(({ value }) => JSON.stringify(value))
    }),
  ).toEqual(rows(5, 6))
  const refused = await reader.evaluate(
    (after) =>
      (globalThis as unknown as InPage).db.maps.todos
        .query({ orderBy: [['text', 'asc']], after })
        .once()
        .catch(({ code }) => code as string),
    cursor ?? '',
  )
  expect(refused).toBe('INVALID_CURSOR')
})

test('[FT1] a search is the server’s while there is one, and goes on in the browser without it, over a reload', async () => {
  const server = await start()
  const [one, other] = await devices()
  const [reader, writer] = [await server.visit(one), await server.visit(other)]
  const write = (key: string, text: string): Promise<unknown> =>
    writer.evaluate(
      ([key = '', text = '']) =>
        (globalThis as unknown as InPage).db.maps.todos
          .set(key, { text, rank: 1, note: '' })
          .wait('local')
          .then(Boolean),
      [key, text],
    )
  await write('milk', 'Buy milk')
  await write('bread', 'Bake bread')
  const open = (page: Page): Promise<void> =>
    page.evaluate(() => {
      const inPage = globalThis as unknown as InPage
      inPage.shown = inPage.db.maps.todos.search('buying mil')
      inPage.shown.subscribe(() => {})
    })
  const look = (page: Page): Promise<string[]> =>
    page.evaluate(() => {
      const { status, rows } = (globalThis as unknown as InPage).shown.get()
      return [status, ...rows.map(({ key }) => key)]
    })
  await open(reader)
  await shows('what the server finds', () => look(reader), ['live', 'milk'])
  await server.down()
  await shows('what is here', () => look(reader), ['local', 'milk'])
  await reader.evaluate(() => (globalThis as unknown as InPage).db.close())
  await server.reload(reader)
  await open(reader)
  await shows('what is here after a reload', () => look(reader), ['local', 'milk'])
  await write('cream', 'Buy milk and cream')
  await server.up()
  for (const page of [reader, writer]) await page.evaluate(() => (globalThis as unknown as InPage).db.connect())
  await shows('what came meanwhile', async () => (await look(reader)).toSorted(), ['cream', 'live', 'milk'])
})
