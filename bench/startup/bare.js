// The least that a server does before it is ready: `ws` listens, and says where.
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
server.once('listening', () => console.log(`PORT=${server.address().port}`))
process.once('SIGTERM', () => process.exit(0))
