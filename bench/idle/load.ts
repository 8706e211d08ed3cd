// Connections that say nothing.
import { RawClient } from '../lib/raw-client.ts'
import { answer } from '../lib/remote.ts'
import { openSession } from '../lib/session.ts'

const CONNECTING_AT_ONCE = 50

const clients: RawClient[] = []

answer({
  /** Opens connections, authenticated unless the peer is a bare `ws` server. Answers how many milliseconds it took. */
  async open({ port, connections, isBare }: { port: number; connections: number; isBare: boolean }): Promise<number> {
    const start = performance.now()
    for (let first = 0; first < connections; first += CONNECTING_AT_ONCE) {
      const count = Math.min(CONNECTING_AT_ONCE, connections - first)
      const opening = Array.from({ length: count }, () => (isBare ? RawClient.open(port) : openSession(port)))
      clients.push(...(await Promise.all(opening)))
    }
    return performance.now() - start
  },
  close() {
    for (const client of clients) client.end()
  },
})
