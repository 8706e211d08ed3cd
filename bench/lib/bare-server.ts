// The ceilings: what `ws` and msgpackr do with the same bytes, without any of Syncline's work.
import { joinBatch } from '@syncline/protocol/codec/msgpack'
import { Packr, Unpackr } from 'msgpackr'
import { WebSocketServer, type WebSocket } from 'ws'
import { MAP, VALUE, keyOf } from './op-template.ts'
import { answer, processArguments } from './remote.ts'

/** What the process is started with. */
export interface BareServerArguments {
  /**
   * - `ack`: decode, `Map.set`, one frame for each acknowledgement;
   * - `ack-joined`: the same, and what one turn acknowledges to a socket leaves as one frame;
   * - `fan-out`: what a writer sends goes to all others, one buffer for each send;
   * - `fan-out-joined`: the same, and what one turn brings leaves as one frame;
   * - `relay`: decode, and what one sends goes to all others, one buffer for each send; nothing is kept or answered;
   * - `relay-joined`: the same, and what one turn brings leaves as one frame;
   * - `idle`: nothing.
   */
  readonly mode: 'ack' | 'ack-joined' | 'fan-out' | 'fan-out-joined' | 'relay' | 'relay-joined' | 'idle'
}

interface Op {
  readonly payload: { readonly id: string; readonly key: string; readonly record: unknown }
}

const { mode } = processArguments() as BareServerArguments
const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number', copyBuffers: true })
const recordsByKey = new Map<string, unknown>()
const STAMP = { millis: Date.now(), counter: 0, nodeId: 'writer-00' }
const sockets = new Set<WebSocket>()
let acksDue = new Map<WebSocket, Uint8Array[]>()
let eventsDue: Uint8Array[] = []
let writer: WebSocket | undefined
let isFlushDue = false

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
server.on('connection', (socket) => {
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket))
  socket.on('message', (data: Buffer) => take(socket, data))
})
await new Promise<void>((resolve) => server.once('listening', resolve))

function take(socket: WebSocket, data: Buffer): void {
  if (mode === 'idle') return
  if (mode === 'relay' || mode === 'relay-joined') return relay(socket, data)
  const { payload } = unpackr.unpack(data) as Op
  recordsByKey.set(payload.key, payload.record)
  const ack = packr.pack({ type: 'OP_ACK', payload: { lastId: payload.id } })
  if (mode === 'ack') return socket.send(ack)
  const acks = acksDue.get(socket)
  if (acks === undefined) acksDue.set(socket, [ack])
  else acks.push(ack)
  writer = socket
  if (mode === 'fan-out') for (const other of sockets) if (other !== writer) other.send(data)
  if (mode === 'fan-out-joined') eventsDue.push(data)
  if (isFlushDue) return
  isFlushDue = true
  setImmediate(flush)
}

/** What a topic does: nothing is answered. */
function relay(socket: WebSocket, data: Buffer): void {
  unpackr.unpack(data)
  writer = socket
  if (mode === 'relay') {
    for (const other of sockets) if (other !== writer) other.send(data)
    return
  }
  eventsDue.push(data)
  if (isFlushDue) return
  isFlushDue = true
  setImmediate(flush)
}

function flush(): void {
  isFlushDue = false
  const [acks, events] = [acksDue, eventsDue]
  acksDue = new Map()
  eventsDue = []
  for (const [socket, frames] of acks) socket.send(joined(frames))
  if (events.length === 0) return
  const frame = joined(events)
  for (const other of sockets) if (other !== writer) other.send(frame)
}

function joined(frames: readonly Uint8Array[]): Uint8Array {
  return frames.length === 1 ? (frames[0] as Uint8Array) : joinBatch(frames)
}

/** How often this core decodes an op in a second: the best of many short stretches, which neighbours disturb least. */
function decodes(): number {
  const bytes = packr.pack({
    type: 'CLIENT_OP',
    payload: {
      id: 'op0000000000',
      mapName: MAP,
      key: keyOf(0),
      opType: 'PUT',
      record: { value: VALUE, timestamp: STAMP },
    },
  })
  let best = 0
  for (let stretch = 0; stretch < 100; stretch++) {
    const start = performance.now()
    for (let i = 0; i < 1_000; i++) unpackr.unpack(bytes)
    best = Math.max(best, 1_000_000 / (performance.now() - start))
  }
  return best
}

answer({
  decodes,
  port: () => (server.address() as { port: number }).port,
  collectGarbage: () => globalThis.gc?.(),
  stop: () => server.close(),
})
