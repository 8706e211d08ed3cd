import { createServer as createHttp, type Server } from 'node:http'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { AddressInfo } from 'node:net'
import { createServer, type SynclineServer } from '@syncline/server'
import { build } from 'esbuild'

type ServerOptions = NonNullable<Parameters<typeof createServer>[0]>

/** A server with a page that has the client, as `syncline`, and nothing else. The page outlives the server. */
export class PageServer implements AsyncDisposable {
  readonly #http: Server
  readonly #options: () => ServerOptions
  readonly #sockets = new Set<Duplex>()
  server: SynclineServer
  /** Connections that pages have made so far. */
  connected = 0
  url = ''

  /** Each start of the server takes its options anew. */
  constructor(options: () => ServerOptions) {
    this.#options = options
    this.#http = createHttp((_, response) => {
      void bundle().then((script) => {
        response.setHeader('content-type', 'text/html; charset=utf-8')
        response.end(`<!doctype html><title>A page</title><script>${script}</script>`)
      })
    })
    this.server = this.#create()
    this.#http.on('upgrade', (_, socket) => {
      this.connected++
      this.#sockets.add(socket)
      if (this.server.state === 'stopped') socket.destroy()
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

  /** Stops the server; pages can be loaded all the same. */
  async down(): Promise<void> {
    await this.server.shutdown()
  }

  /** Starts a new one in its place. */
  async up(): Promise<void> {
    this.server = this.#create()
    await this.server.ready()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#http.closeAllConnections()
    this.#http.close()
    await this.server.shutdown()
  }

  #create(): SynclineServer {
    const server = createServer({ auth: 'none', listen: false, logLevel: 'error', ...this.#options() })
    server.attach(this.#http)
    return server
  }
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
