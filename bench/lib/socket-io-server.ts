// A peer: Socket.IO with its defaults, which sends what one client emits to all others.
import { Server } from 'socket.io'
import { answer } from './remote.ts'

const server = new Server(0, { serveClient: false, transports: ['websocket'] })
server.on('connection', (socket) => {
  socket.on('publish', (data: unknown) => socket.broadcast.emit('message', data))
})

answer({
  port: () => (server.httpServer.address() as { port: number }).port,
  collectGarbage: () => globalThis.gc?.(),
  stop: () => server.close(),
})
