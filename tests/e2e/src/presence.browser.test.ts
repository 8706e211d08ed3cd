import { chromium, type Browser, type Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { findChromium } from './browser/chromium.ts'
import type { PageServer } from './browser/page-server.ts'
import { RoomServer, watched } from './browser/room-page.ts'
import { launch } from './browser/todo-page.ts'
import { until } from './until.ts'

/** A promise of the figures: nobody sees a tab for longer than that after it was killed. */
const GONE_MS = 2_000
const CRASHES = 7
const KILLS = 3

async function start(options: ReturnType<ConstructorParameters<typeof PageServer>[0]> = {}): Promise<RoomServer> {
  const server = new RoomServer(() => options)
  onTestFinished(() => server[Symbol.asyncDispose]())
  await server.start()
  return server
}

async function browserFor(args: readonly string[] = [], ignored: readonly string[] = []): Promise<Browser> {
  const browser =
    args.length + ignored.length === 0
      ? await launch()
      : await chromium.launch({
          executablePath: findChromium() as string,
          args: ['--no-sandbox', '--disable-gpu', ...args],
          ignoreDefaultArgs: [...ignored],
        })
  onTestFinished(() => browser.close())
  return browser
}

/** Waits until a page sees somebody, or does not any more. */
async function sees(page: Page, name: string, isThere: boolean): Promise<void> {
  const look = async (): Promise<boolean> => (await watched(page)).others.some((other) => other.name === name)
  await until(
    async () => (await look()) === isThere,
    () => `${name} is ${isThere ? 'seen' : 'gone'}`,
  )
}

/** From a moment until a page saw somebody leave. */
async function goneAfterMs(page: Page, name: string, killedAtMs: number): Promise<number> {
  await sees(page, name, false)
  const { log } = await watched(page)
  const left = log.find((entry) => entry.name === name && entry.what === 'leave')
  return (left?.atMs ?? Infinity) - killedAtMs
}

test('[RO6] a tab that is killed is gone for others within two seconds: its process, or the whole browser', async () => {
  const server = await start()
  const observer = await server.visit(await browserFor(), 'observer')
  const figures: number[] = []
  const victims = await browserFor()
  for (let round = 0; round < CRASHES; round++) {
    const name = `crash ${round}`
    const victim = await server.visit(victims, name)
    await sees(observer, name, true)
    const crashed = victim.waitForEvent('crash')
    const killedAtMs = Date.now()
    void victim.goto('chrome://crash').catch(() => {})
    await crashed
    figures.push(await goneAfterMs(observer, name, killedAtMs))
    await victim.close()
  }
  for (let round = 0; round < KILLS; round++) {
    const name = `kill ${round}`
    const owner = await chromium.launchServer({
      executablePath: findChromium() as string,
      args: ['--headless=new', '--no-sandbox', '--disable-gpu'],
    })
    onTestFinished(() => owner.kill())
    await server.visit(await chromium.connect(owner.wsEndpoint()), name)
    await sees(observer, name, true)
    const killedAtMs = Date.now()
    owner.process().kill('SIGKILL')
    figures.push(await goneAfterMs(observer, name, killedAtMs))
  }
  expect(figures).toHaveLength(CRASHES + KILLS)
  expect(Math.max(...figures), `milliseconds until each was gone: ${figures.join(', ')}`).toBeLessThanOrEqual(GONE_MS)
})

test('[RO6] a page that is frozen, or starved of time, does not flap and does not leave: the browser answers for it', async () => {
  // Half a minute of this is as an hour with the defaults: it would be away after two seconds, and closed after five.
  const server = await start({ rooms: { awayAfterMs: 2_000 }, connections: { idleTimeout: 5_000 } })
  const observer = await server.visit(await browserFor(), 'observer')
  const background = await browserFor(
    ['--headless=new'],
    ['--disable-background-timer-throttling', '--disable-renderer-backgrounding'],
  )
  const [frozen, starved] = [await server.visit(background, 'frozen'), await server.visit(background, 'starved')]
  for (const name of ['frozen', 'starved']) await sees(observer, name, true)
  const control = await background.contexts()[0]?.newCDPSession(frozen)
  await control?.send('Page.setWebLifecycleState', { state: 'frozen' })
  const throttle = await starved.context().newCDPSession(starved)
  await throttle.send('Emulation.setCPUThrottlingRate', { rate: 50 })
  const fromMs = Date.now()
  await until(
    async () => Date.now() - fromMs > 30_000,
    () => 'half a minute',
    60_000,
  )
  const { log, others } = await watched(observer)
  expect(log.filter(({ what }) => what !== 'come')).toEqual([])
  expect(others.map(({ name, state }) => `${name}: ${state}`).toSorted()).toEqual(['frozen: active', 'starved: active'])
  await control?.send('Page.setWebLifecycleState', { state: 'active' })
  await sees(frozen, 'observer', true)
})

test('[RO5] a page whose connection is cut for a moment comes back as the same member, and nobody notices', async () => {
  const server = await start({ rooms: { graceMs: 10_000 } })
  const browser = await browserFor()
  const observer = await server.visit(browser, 'observer')
  const page = await server.visit(browser, 'cut off')
  await sees(observer, 'cut off', true)
  const before = await watched(observer)
  // Each time the client waits longer before it comes back; a page that is cut off for two seconds shows nobody.
  for (let round = 0; round < 2; round++) {
    const { connected } = server
    server.cut()
    await until(
      () => server.connected === connected + 2 && server.server.inspect()['rooms']?.['behind'] === 0,
      () => 'both are back',
    )
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)))
  }
  await sees(page, 'observer', true)
  const after = await watched(observer)
  expect(after.others).toEqual(before.others)
  expect(after.log).toEqual(before.log)
})
