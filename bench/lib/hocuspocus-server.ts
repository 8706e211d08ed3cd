// A peer: Hocuspocus with its defaults, which sends what one client changes in a document to all others.
import { Server } from '@hocuspocus/server'
import { answer } from './remote.ts'

const server = new Server({ port: 0, address: '127.0.0.1', quiet: true, stopOnSignals: false })
await server.listen()

answer({
  port: () => server.address.port,
  collectGarbage: () => globalThis.gc?.(),
  stop: () => server.destroy(),
})
