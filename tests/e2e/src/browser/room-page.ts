import { createServer as createHttp, type Server } from 'node:http'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { AddressInfo } from 'node:net'
import type * as Syncline from '@syncline/client'
import { createServer, type SynclineServer } from '@syncline/server'
import { build } from 'esbuild'
import type { Browser, Page } from 'playwright-core'

/** What the page keeps of one room: who is in it now, and each coming, change of state and leaving, with its time. */
export interface Watched {
  readonly others: readonly { readonly id: string; readonly name: string; readonly state: string }[]
  readonly log: readonly {
    readonly atMs: number
    readonly what: 'come' | 'away' | 'active' | 'leave'
    readonly name: string
  }[]
}

interface InPage {
  readonly syncline: typeof Syncline
  watched: { others: Watched['others']; log: { atMs: number; what: string; name: string }[] }
}

/** A server with a page that has the client and nothing else. */
export class RoomServer implements AsyncDisposable {
  readonly server: SynclineServer
  readonly #http: Server
  readonly #sockets = new Set<Duplex>()
  /** Connections that pages have made so far. */
  connected = 0
  url = ''

  constructor(options: Parameters<typeof createServer>[0]) {
    this.server = createServer({ auth: 'none', listen: false, logLevel: 'error', ...options })
    this.#http = createHttp((_, response) => {
      void bundle().then((script) => {
        response.setHeader('content-type', 'text/html; charset=utf-8')
        response.end(`<!doctype html><title>A room</title><script>${script}</script>`)
      })
    })
    this.server.attach(this.#http)
    this.#http.on('upgrade', (_, socket) => {
      this.connected++
      this.#sockets.add(socket)
    })
  }

  /** Cuts the connections of all pages. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  async start(): Promise<void> {
    await this.server.ready()
    this.#http.listen(0, '127.0.0.1')
    await once(this.#http, 'listening')
    this.url = `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}/`
  }

  /** Opens a page of a browser, in the room under a name. */
  async visit(browser: Browser, name: string): Promise<Page> {
    const page = await browser.newPage()
    await page.goto(this.url)
    await page.evaluate(join, name)
    return page
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#http.closeAllConnections()
    this.#http.close()
    await this.server.shutdown()
  }
}

/** What a page has seen. */
export function watched(page: Page): Promise<Watched> {
  return page.evaluate(() => (globalThis as unknown as InPage).watched as Watched)
}

let script: Promise<string> | undefined

/** The client as one script, what it loads late included. */
function bundle(): Promise<string> {
  script ??= build({
    stdin: { contents: "export * from '@syncline/client'", resolveDir: import.meta.dirname },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'syncline',
    conditions: ['@syncline/source'],
    minify: true,
  }).then(({ outputFiles }) => outputFiles[0]?.text.replaceAll('</script', String.raw`<\/script`) ?? '')
  return script
}

/** Runs in the page. */
function join(name: string): void {
  const inPage = globalThis as unknown as InPage
  const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
  const { createClient, defineContract, room } = inPage.syncline
  const contract = defineContract({ rooms: { board: room({ presence: anything }) } })
  const db = createClient({ contract, url: location.origin.replace('http', 'ws') + '/ws' })
  const board = db.rooms.board.join('b1', { presence: { name } })
  inPage.watched = { others: [], log: [] }
  board.others.subscribe((members) => {
    const { watched } = inPage
    const others = members.map(({ id, presence, state }) => ({ id, name: (presence as { name: string }).name, state }))
    const note = (what: string, each: { readonly name: string }): void => {
      watched.log.push({ atMs: Date.now(), what, name: each.name })
    }
    for (const other of others) {
      const before = watched.others.find(({ id }) => id === other.id)
      if (before === undefined) note('come', other)
      else if (before.state !== other.state) note(other.state, other)
    }
    for (const before of watched.others) if (!others.some(({ id }) => id === before.id)) note('leave', before)
    watched.others = others
  })
}
