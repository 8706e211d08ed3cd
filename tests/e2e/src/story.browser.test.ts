import type { Browser, BrowserContext } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { DevServer } from './browser/dev-server.ts'
import { launch, TodoPage, type Shown } from './browser/todo-page.ts'

let browser: Browser
beforeAll(async () => {
  browser = await launch()
})
afterAll(() => browser.close())

let server: DevServer
const pages: TodoPage[] = []

async function startServer(): Promise<void> {
  server = new DevServer()
  onTestFinished(() => server[Symbol.asyncDispose]())
  await server.start()
}

async function newContext(): Promise<BrowserContext> {
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1000, height: 900 } })
  onTestFinished(() => context.close())
  return context
}

async function open(context: BrowserContext, name: string): Promise<TodoPage> {
  const page = await TodoPage.open(context, name, server.url)
  pages.push(page)
  return page
}

async function serverDies(): Promise<void> {
  for (const page of pages) page.isServerDown = true
  await server.kill()
}

async function serverReturns(): Promise<void> {
  await server.start()
}

afterEach(async () => {
  const complaints = await Promise.all(pages.splice(0).map((page) => page.allComplaints()))
  if (complaints.flat().length > 0) throw new Error(complaints.flat().join('\n'))
})

const texts = (shown: Shown): string[] => shown.todos.map(({ text }) => text).toSorted()
const find = (shown: Shown, text: string) => shown.todos.find((todo) => todo.text === text)
const isSaved = (shown: Shown): boolean =>
  shown.mood === 'saved' && shown.pending === 0 && shown.todos.every(({ sync }) => sync === 'synced')
const has = (shown: Shown, ...wanted: string[]): boolean => wanted.every((text) => texts(shown).includes(text))

const SAVED = /^Online Everything is saved on the server\. Last saved at \d\d:\d\d:\d\d\.$/
const IDLE_OFFLINE = /^Offline Go on writing: it is kept on this device\. Last saved at \d\d:\d\d:\d\d\.$/
const keeping = (count: number): RegExp =>
  count === 1
    ? /^Offline 1 change is kept on this device, and sent when the server is back\./
    : new RegExp(`^Offline ${count} changes are kept on this device, and sent when the server is back\\.`)

describe('the story of a newcomer', () => {
  const ways: [what: string, contexts: number][] = [
    ['two tabs of one browser', 1],
    ['two browsers', 2],
  ]
  test.each(ways)('[INV-10] [INV-12] %s edit while the server is dead, and meet when it returns', async (_, count) => {
    await startServer()
    const contexts = [await newContext()]
    if (count === 2) contexts.push(await newContext())
    const [first, second = first] = contexts as [BrowserContext, BrowserContext?]

    // Both open the page; there is nothing yet.
    const a = await open(first, 'A')
    await a.shows('an empty list, saved', (shown) => isSaved(shown) && shown.empty.startsWith('Nothing to do.'))
    const b = await open(second, 'B')
    await b.shows('an empty list, saved', (shown) => isSaved(shown) && shown.empty.startsWith('Nothing to do.'))

    // They type in both, and see them meet.
    await a.history()
    for (const text of ['Milk', 'Bread', 'Eggs']) await a.add(text)
    for (const text of ['Call Ada', 'Fix the bike']) await b.add(text)
    for (const page of [a, b]) {
      const shown = await page.shows(
        'five todos, saved',
        (shown) => isSaved(shown) && has(shown, 'Milk', 'Bread', 'Eggs', 'Call Ada', 'Fix the bike'),
      )
      expect(shown.says).toMatch(SAVED)
      expect(shown.notices).toEqual([])
    }
    const { syncs } = await a.history()
    const milk = find(await a.look(), 'Milk')?.key ?? ''
    expect(syncs[milk]).toEqual(['pending', 'synced'])
    await Promise.all([a.keepsItsFiles(), b.keepsItsFiles()])

    // The server dies. Both pages say so.
    await serverDies()
    for (const page of [a, b]) {
      const shown = await page.shows('that it is offline', ({ mood }) => mood === 'waiting')
      expect(shown.says).toMatch(IDLE_OFFLINE)
      expect(shown.pending).toBe(0)
    }

    // They go on: different fields of one todo, the same field of another, one deleted, new ones.
    await a.rename('Milk', 'Oat milk')
    await b.setPriority('Milk', 'high')
    await a.rename('Bread', 'Rye bread')
    await b.rename('Bread', 'White bread')
    await b.remove('Eggs')
    await a.setNote('Eggs', 'a dozen')
    await a.add('From A')
    await b.add('From B')
    await b.toggle('Call Ada')
    // Until the device has them all, the page says that they are being kept.
    await a.shows('four changes, kept', ({ pending, says }) => pending === 4 && keeping(4).test(says))
    const before = await b.shows('five changes, kept', ({ pending, says }) => pending === 5 && keeping(5).test(says))
    expect(find(await a.look(), 'Oat milk')?.sync).toBe('pending')
    expect(find(await a.look(), 'Eggs')).toMatchObject({ note: 'a dozen', sync: 'pending' })
    expect(find(before, 'Fix the bike')?.sync).toBe('synced')
    await b.stored(count === 1 ? 9 : 5)

    // One tab is reloaded: the page comes back without the server, and what waits is still there.
    await b.page.reload()
    const reloaded = await b.shows('what it had written', ({ pending, mood }) => pending === 5 && mood === 'waiting')
    expect(reloaded.says).toMatch(keeping(5))
    expect(has(reloaded, 'White bread', 'From B', 'Milk')).toBe(true)
    expect(find(reloaded, 'Milk')).toMatchObject({ priority: 'high', sync: 'pending' })
    expect(find(reloaded, 'Eggs')).toBeUndefined()
    expect(find(reloaded, 'Call Ada')).toMatchObject({ done: true, sync: 'pending' })
    expect(find(reloaded, 'White bread')?.sync).toBe('pending')

    // The server returns on the same data. Both end the same, and nothing is lost.
    // B reaches it first: what A then brings is older than what B wrote, or meets a deletion.
    await Promise.all([a.history(), b.history()])
    await a.cutOff(true)
    await serverReturns()
    await b.shows('its own, saved', (shown) => isSaved(shown) && has(shown, 'Milk', 'White bread', 'From B'))
    expect((await a.look()).says).toMatch(keeping(4))
    await a.cutOff(false)
    const expected = ['Call Ada', 'Fix the bike', 'From A', 'From B', 'Oat milk', 'White bread']
    const ends: Shown[] = []
    for (const page of [a, b]) {
      const shown = await page.shows(
        'the same as the other, saved',
        (shown) => isSaved(shown) && shown.todos.length === expected.length && has(shown, ...expected),
      )
      expect(shown.says).toMatch(SAVED)
      expect(find(shown, 'Oat milk')).toMatchObject({ priority: 'high', done: false, note: '' })
      expect(find(shown, 'Call Ada')).toMatchObject({ done: true })
      ends.push(shown)
    }
    expect(ends[1]?.todos).toEqual(ends[0]?.todos)
    const history = await a.history()
    expect(history.moods.at(-1)).toBe('saved')
    expect(history.syncs[milk]).toEqual(['pending', 'synced'].slice(-(history.syncs[milk]?.length ?? 0)))

    // What gave way to another is told to whom it happened, and to nobody else.
    const conflicts = ({ notices }: Shown) => notices.filter(({ kind }) => kind === 'conflict').map(({ text }) => text)
    const told = await a.shows('both conflicts', (shown) => conflicts(shown).length === 2)
    expect(conflicts(told).toSorted()).toEqual([
      'Somebody else changed the text of “White bread” later than you: yours was “Rye bread”, now it is “White bread”.',
      'Somebody else deleted “Eggs” while you changed it.',
    ])
    expect(conflicts(await b.look())).toEqual([])

    // And so it stays.
    for (const page of [a, b]) {
      await page.page.reload()
      const shown = await page.shows('the same again', (shown) => isSaved(shown) && has(shown, ...expected))
      expect(shown.todos).toEqual(ends[0]?.todos)
    }
  })
})

describe('tabs that go', () => {
  test('a tab that is closed with changes leaves them to another tab of its browser, which sends them', async () => {
    await startServer()
    const context = await newContext()
    const a = await open(context, 'A')
    const b = await open(context, 'B')
    await a.add('Milk')
    for (const page of [a, b]) await page.shows('Milk, saved', (shown) => isSaved(shown) && has(shown, 'Milk'))
    await Promise.all([a.keepsItsFiles(), b.keepsItsFiles()])

    await serverDies()
    await a.add('Written by a tab that goes')
    await a.rename('Milk', 'Oat milk')
    await a.shows('two changes', ({ pending }) => pending === 2)
    await a.stored(2)
    await a.page.close()
    const adopted = await b.shows('what the other left', ({ pending }) => pending === 2, 60_000)
    expect(has(adopted, 'Written by a tab that goes', 'Oat milk')).toBe(true)

    await serverReturns()
    await b.shows('it saved', (shown) => isSaved(shown) && has(shown, 'Written by a tab that goes', 'Oat milk'))
    const c = await open(await newContext(), 'C')
    const shown = await c.shows('the same', (shown) => isSaved(shown) && shown.todos.length > 0)
    expect(texts(shown)).toEqual(['Oat milk', 'Written by a tab that goes'])
  })

  test('the last tab is closed with changes, and a new one opens without the server: it has them, and sends them', async () => {
    await startServer()
    const context = await newContext()
    const a = await open(context, 'A')
    await a.add('Milk')
    await a.shows('Milk, saved', (shown) => isSaved(shown) && has(shown, 'Milk'))
    await a.keepsItsFiles()

    await serverDies()
    await a.add('Eggs')
    await a.remove('Milk')
    await a.shows('two changes', ({ pending }) => pending === 2)
    await a.stored(2)
    await a.page.close()

    const b = await TodoPage.of(await context.newPage(), 'B', true)
    pages.push(b)
    await b.page.goto(server.url)
    const adopted = await b.shows('what the last tab left', ({ pending }) => pending === 2, 60_000)
    expect(texts(adopted)).toEqual(['Eggs'])

    await serverReturns()
    await b.shows('it saved', (shown) => isSaved(shown) && has(shown, 'Eggs'))
    const c = await open(await newContext(), 'C')
    const shown = await c.shows('the same', (shown) => isSaved(shown) && shown.todos.length > 0)
    expect(texts(shown)).toEqual(['Eggs'])
  })

  test('a tab that is duplicated is a tab of its own: both write, and neither loses or repeats anything', async () => {
    await startServer()
    const context = await newContext()
    const a = await open(context, 'A')
    await a.add('Milk')
    await a.shows('Milk, saved', (shown) => isSaved(shown) && has(shown, 'Milk'))
    await a.keepsItsFiles()
    await serverDies()
    await a.add('Before')
    await a.shows('one change', ({ pending }) => pending === 1)

    // What a tab keeps for itself (sessionStorage) is copied, as by the browser's own "Duplicate".
    const [twin] = await Promise.all([
      context.waitForEvent('page'),
      a.page.evaluate(() => void window.open(location.href)),
    ])
    const b = await TodoPage.of(twin, 'B', true)
    pages.push(b)
    await b.page.reload()
    await b.shows('Milk', (shown) => has(shown, 'Milk'))
    await a.add('By A')
    await b.add('By B')
    await a.rename('Milk', 'Oat milk')
    await b.setPriority('Milk', 'low')

    await serverReturns()
    const expected = ['Before', 'By A', 'By B', 'Oat milk']
    for (const page of [a, b]) {
      const shown = await page.shows('everything, saved', (shown) => isSaved(shown) && has(shown, ...expected))
      expect(texts(shown)).toEqual(expected)
      expect(find(shown, 'Oat milk')?.priority).toBe('low')
    }
  })

  test('on a page without Web Locks a reload has its changes at once, and no other tab takes them', async () => {
    await startServer()
    const context = await newContext()
    // Browsers offer them on HTTPS and localhost only.
    await context.addInitScript('delete Navigator.prototype.locks')
    const a = await open(context, 'A')
    const b = await open(context, 'B')
    await a.add('Milk')
    for (const page of [a, b]) await page.shows('Milk, saved', (shown) => isSaved(shown) && has(shown, 'Milk'))
    await Promise.all([a.keepsItsFiles(), b.keepsItsFiles()])

    await serverDies()
    await a.add('By A')
    await a.shows('one change', ({ pending }) => pending === 1)
    await a.stored(1)
    await a.page.reload()
    await a.shows('its change', (shown) => shown.pending === 1 && has(shown, 'By A'))
    await b.add('By B')
    await b.shows('its own change alone', (shown) => shown.pending === 1 && !has(shown, 'By A'))

    await serverReturns()
    for (const page of [a, b]) {
      const shown = await page.shows('everything, saved', (shown) => isSaved(shown) && has(shown, 'By A', 'By B'))
      expect(texts(shown)).toEqual(['By A', 'By B', 'Milk'])
    }
  })
})
