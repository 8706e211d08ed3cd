// Writes docs/images/todo.png: the todo page while the server is down, with changes that wait on the device.
// pnpm --filter @syncline/e2e screenshot

import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import setupBuilt from './built.ts'
import setupChromium from './browser/chromium.ts'
import { DevServer } from './browser/dev-server.ts'
import { launch, TodoPage, type Shown } from './browser/todo-page.ts'

const path = fileURLToPath(new URL('../../../docs/images/todo.png', import.meta.url))
mkdirSync(dirname(path), { recursive: true })
setupBuilt()
setupChromium()

const browser = await launch()
const server = new DevServer()
try {
  await server.start()
  const context = await browser.newContext({
    locale: 'en-GB',
    viewport: { width: 860, height: 640 },
    deviceScaleFactor: 2,
    colorScheme: 'light',
    reducedMotion: 'reduce',
  })
  const todo = await TodoPage.open(context, 'the page', server.url)
  const isSaved = ({ mood, pending }: Shown): boolean => mood === 'saved' && pending === 0
  await todo.shows('an empty list', isSaved)
  for (const text of ['Book the train to Lisbon', 'Call Grandma on Sunday', 'Buy oat milk', 'Fix the bike']) {
    await todo.add(text)
  }
  await todo.setNote('Book the train to Lisbon', 'Window seat, not before nine')
  await todo.setPriority('Call Grandma on Sunday', 'high')
  await todo.toggle('Buy oat milk')
  await todo.shows('everything saved', (shown) => isSaved(shown) && shown.todos.length === 4)
  await server.kill()
  await todo.shows('that it is offline', ({ mood }) => mood === 'waiting')
  await todo.toggle('Fix the bike')
  await todo.add('Water the plants')
  await todo.shows('two changes', ({ pending }) => pending === 2)
  await todo.page.mouse.move(0, 0)
  await todo.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur())
  await todo.page.screenshot({ path, fullPage: true, animations: 'disabled' })
  console.log(path)
} finally {
  await browser.close()
  await server[Symbol.asyncDispose]()
}
