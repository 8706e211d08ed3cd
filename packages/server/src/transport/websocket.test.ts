import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { PlainSocket } from './websocket.ts'

/** A socket whose network takes one write at a time, when it is told to, and how often it said that it has drained. */
function stalled(): {
  readonly ws: { readyState: number }
  readonly socket: PlainSocket
  readonly taken: string[]
  readonly drains: () => number
  readonly take: () => Promise<void>
} {
  let isTaken: (() => void) | undefined
  let drains = 0
  const taken: string[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      taken.push(chunk.toString('latin1'))
      isTaken = done
    },
  })
  const ws = { readyState: WebSocket.OPEN, handler: { onDrain: () => drains++ } }
  const socket = new PlainSocket(ws as never, stream as Socket, '')
  const take = async (): Promise<void> => {
    isTaken?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { ws, socket, taken, drains: () => drains, take }
}

test('a socket says that it has drained, and again where more was sent meanwhile', async () => {
  const { socket, taken, drains, take } = stalled()
  socket.send(['a'])
  await take()
  expect([drains(), taken]).toEqual([0, ['\x81\x01a', '']])
  socket.send(['b'])
  await take()
  expect([drains(), taken]).toEqual([1, ['\x81\x01a', '', '\x81\x01b']])
  await take()
  await take()
  expect([drains(), taken]).toEqual([2, ['\x81\x01a', '', '\x81\x01b', '']])
})

test('a socket that is gone says nothing, and asks no more', async () => {
  const { socket, drains, take } = stalled()
  socket.send(['a'])
  socket.send(['b'])
  ;(socket as unknown as { socket: Duplex }).socket.destroy()
  await take()
  expect(drains()).toBe(0)
})

test('nothing follows a close frame', () => {
  const { ws, socket, taken } = stalled()
  ws.readyState = WebSocket.CLOSING
  socket.send(['a'])
  expect(taken).toEqual([])
})

test('what was sent before the peer stopped talking still leaves, and nothing is written after the end', async () => {
  const { ws, socket, taken, take } = stalled()
  const errors: unknown[] = []
  const { socket: stream } = socket as unknown as { socket: Duplex }
  stream.on('error', (error) => errors.push(error))
  socket.send(['a'])
  socket.send(['b'])
  // As ws does when the other side ends its half of the connection.
  ws.readyState = WebSocket.CLOSING
  stream.end()
  for (let i = 0; i < 3; i++) await take()
  expect([errors, taken]).toEqual([[], ['\x81\x01a', '', '\x81\x01b']])
})
