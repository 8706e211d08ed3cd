import { readFileSync, readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { clearHomes, newHome } from './home.ts'
import { Random } from './random.ts'
import { within, type ServerProcess } from './server-process.ts'
import { until } from './until.ts'
import { WireClient } from './wire-client.ts'

const FRAMES = 50_000
/** Frames that one sender has on their way before it waits for the server. */
const BURST = 250
const SENDERS = 8
/** Frames after which the server's memory is taken as what it needs. */
const WARM_UP = 10_000
const MOST_GROWTH_MB = 32
/** With a small nursery the memory of the process says what it holds, and not how seldom it collects. */
const SMALL_NURSERY = ['--max-semi-space-size=1']
/** What the server may do before it answers another client: its own work is counted, and not what shares the machine. */
const MOST_WORK_MS = 400
const PROBE_MS = 25

/** Bytes at which a decoder takes another way: MessagePack's heads, and JSON's signs. */
const INTERESTING = [
  0x00, 0x22, 0x2c, 0x5c, 0x7b, 0x7d, 0x7f, 0x80, 0x8f, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6,
].concat([0xc7, 0xcb, 0xcf, 0xd3, 0xd4, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff])

/** The examples of messages of all features, which have a file each. */
const folder = new URL('../../../packages/protocol/vectors/messages/', import.meta.url)
const vectors = readdirSync(folder).flatMap(
  (file) => JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as { json: string; msgpack: string }[],
)
const samples = vectors.flatMap(({ json, msgpack }) => [Buffer.from(json), Buffer.from(msgpack, 'hex')])

afterAll(clearHomes)

test(
  `INV-22: ${FRAMES} malformed frames over sockets crash nothing, hold nobody up and leave no memory behind`,
  { timeout: 150_000 },
  async () => {
    const home = await newHome()
    await using server = home.start(0, SMALL_NURSERY)
    const port = await server.ready
    const witness = await Witness.open(server, port, home.token)
    const random = new Random(20_251_121)
    let sent = 0
    let lost = 0
    let warmMb = 0
    const send = async (isSignedIn: boolean): Promise<void> => {
      while (sent < FRAMES) {
        const socket = await within(open(port, isSignedIn ? home.token : undefined), 30_000, () => 'Nobody gets in')
        while (sent < FRAMES && socket.readyState === WebSocket.OPEN) {
          for (let i = 0; i < BURST && socket.readyState === WebSocket.OPEN; i++, sent++) {
            const frame = malformed(random)
            socket.send(random.next() < 0.5 ? frame : frame.toString())
          }
          if (sent >= WARM_UP) warmMb ||= memoryMb(server)
          await answered(socket)
        }
        if (socket.readyState === WebSocket.OPEN) socket.terminate()
        else lost++
      }
    }
    await Promise.all(Array.from({ length: SENDERS }, (_, i) => send(i % 4 !== 0)))
    await until(
      () => memoryMb(server) - warmMb <= MOST_GROWTH_MB,
      () => `the server grew from ${warmMb} MB to ${memoryMb(server)} MB`,
    )
    const { values, longestMs, mostWorkMs } = await witness.leave()
    console.log(
      `${sent} malformed frames: ${lost} connections closed, longest answer to another client ${Math.round(longestMs)} ms (${Math.round(mostWorkMs)} ms of work), memory ${warmMb} MB, then ${memoryMb(server)} MB`,
    )
    expect(values).toEqual(['kept'])
    expect(mostWorkMs).toBeLessThan(MOST_WORK_MS)
    expect(server.output).not.toMatch(/failed|INTERNAL/i)
    expect(await server.stop()).toBe(0)
  },
)

test('frames that break WebSocket itself end their connection and no other', { timeout: 60_000 }, async () => {
  const home = await newHome()
  await using server = home.start()
  const port = await server.ready
  const witness = await Witness.open(server, port, home.token)
  const random = new Random(7)
  const broken: readonly (readonly [string, Buffer])[] = [
    ['no mask', Buffer.from([0x81, 0x01, 0x61])],
    ['reserved bits', Buffer.from([0xf1, 0x81, 0, 0, 0, 0, 0x61])],
    ['an unknown opcode', Buffer.from([0x83, 0x81, 0, 0, 0, 0, 0x61])],
    ['a continuation of nothing', Buffer.from([0x80, 0x81, 0, 0, 0, 0, 0x61])],
    ['a ping of more than 125 bytes', Buffer.from([0x89, 0xfe, 0, 0x7e, 0, 0, 0, 0])],
    ['a ping in pieces', Buffer.from([0x09, 0x80, 0, 0, 0, 0])],
    [
      'a length beyond all bounds',
      Buffer.from([0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
    ],
    ['a text that is not UTF-8', Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28])],
    ['a close with half a code', Buffer.from([0x88, 0x81, 0, 0, 0, 0, 0x03])],
    ...Array.from({ length: 60 }, (_, i) => [`noise ${i}`, noise(random, 2_000)] as const),
  ]
  for (const [name, bytes] of broken) {
    const socket = await upgraded(port)
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.write(bytes)
    socket.end()
    await within(gone, 10_000, () => `${name}: the connection was not closed`)
  }
  const { values, mostWorkMs } = await witness.leave()
  expect(values).toEqual(['kept'])
  expect(mostWorkMs).toBeLessThan(MOST_WORK_MS)
  expect(await server.stop()).toBe(0)
})

/** A client that behaves: it asks for a sign of life again and again, and writes one record that must stay as it is. */
class Witness {
  readonly #client: WireClient
  readonly #asking: Promise<void>
  #isLeaving = false
  #longestMs = 0
  #mostWorkMs = 0
  readonly #server: ServerProcess

  private constructor(server: ServerProcess, client: WireClient) {
    this.#server = server
    this.#client = client
    this.#asking = this.#ask()
  }

  static async open(server: ServerProcess, port: number, token: string): Promise<Witness> {
    const client = await WireClient.open(port, token, 'msgpack')
    const acknowledged = client.next((message) => (message.type === 'OP_ACK' ? message.payload : undefined))
    const record = { value: 'kept', timestamp: { millis: Date.now(), counter: 0, nodeId: 'witness' } }
    client.send({
      type: 'CLIENT_OP',
      payload: { id: '1', mapName: 'witness', key: 'k', record, writeConcern: 'PERSISTED' },
    })
    const [result] = (await acknowledged).results ?? []
    if (result?.achievedLevel !== 'PERSISTED') throw new Error(`The record was not stored: ${JSON.stringify(result)}`)
    return new Witness(server, client)
  }

  /** Looks at its records once more. Says how long an answer took at the longest, and how long the server worked before one. */
  async leave(): Promise<{
    readonly values: unknown[]
    readonly longestMs: number
    readonly mostWorkMs: number
  }> {
    this.#isLeaving = true
    await this.#asking
    const page = this.#client.next((message) => (message.type === 'SYNC_DIFF' ? message.payload : undefined))
    this.#client.send({ type: 'SYNC_INIT', mapName: 'witness', cursor: null })
    const values = (await page).records.map(({ record }) => record.value)
    this.#client.end()
    return { values, longestMs: this.#longestMs, mostWorkMs: this.#mostWorkMs }
  }

  async #ask(): Promise<void> {
    while (!this.#isLeaving) {
      const askedAtMs = performance.now()
      const workedMs = workMs(this.#server)
      const answer = this.#client.next((message) => (message.type === 'PONG' ? true : undefined))
      this.#client.send({ type: 'PING', timestamp: Date.now() })
      await answer
      this.#longestMs = Math.max(this.#longestMs, performance.now() - askedAtMs)
      this.#mostWorkMs = Math.max(this.#mostWorkMs, workMs(this.#server) - workedMs)
      await new Promise((resolve) => setTimeout(resolve, PROBE_MS))
    }
  }
}

/** What no member of a message is meant to be, or hardly ever. */
const ODD: readonly unknown[] = [
  null,
  true,
  -1,
  0.5,
  2 ** 53,
  1e308,
  '',
  '\u0000',
  'k'.repeat(600),
  '__proto__',
].concat([
  [],
  [[]],
  {},
  { $bytes: '!' },
  JSON.parse('['.repeat(40) + ']'.repeat(40)),
  Array.from({ length: 2_000 }, () => 0),
])

/** A message of the protocol in which one member is not what it should be. */
function misshapen(random: Random): Buffer {
  const message = JSON.parse(random.pick(vectors).json) as object
  let at = message as Record<string, unknown>
  for (;;) {
    const name = random.pick(Object.keys(at))
    const below = at[name]
    if (typeof below === 'object' && below !== null && Object.keys(below).length > 0 && random.next() < 0.8) {
      at = below as Record<string, unknown>
      continue
    }
    if (random.next() < 0.2) delete at[name]
    else at[name] = random.pick(ODD)
    return Buffer.from(JSON.stringify(message))
  }
}

/** A message with bytes changed, lost, added or repeated, or with an odd member; or nothing but noise. */
function malformed(random: Random): Buffer {
  const kind = random.next()
  if (kind < 0.1) return noise(random, 200)
  if (kind < 0.5) return misshapen(random)
  let frame = Buffer.from(random.pick(samples))
  for (let steps = 1 + random.below(4); steps > 0; steps--) {
    const at = random.below(frame.length + 1)
    const byte = Buffer.of(random.next() < 0.5 ? random.pick(INTERESTING) : random.below(256))
    const other = random.pick(samples)
    frame = random.pick([
      () => Buffer.concat([frame.subarray(0, at), byte, frame.subarray(at + 1)]),
      () => Buffer.concat([frame.subarray(0, at), byte, frame.subarray(at)]),
      () => frame.subarray(0, at),
      () => Buffer.concat([frame.subarray(0, at), frame.subarray(random.below(frame.length + 1))]),
      () => Buffer.concat([frame.subarray(0, at), other.subarray(random.below(other.length + 1))]),
    ])()
  }
  return frame
}

const noise = (random: Random, most: number): Buffer =>
  Buffer.from(Array.from({ length: 1 + random.below(most) }, () => random.below(256)))

/** Opens a connection, signed in or not, that reads what comes and looks at nothing. */
async function open(port: number, token: string | undefined): Promise<WebSocket> {
  for (;;) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`)
    socket.on('error', () => {})
    if (!(await hears(socket))) {
      // Too many connections in this second.
      await new Promise((resolve) => setTimeout(resolve, PROBE_MS))
      continue
    }
    if (token === undefined) return socket
    socket.send(JSON.stringify({ type: 'AUTH', token }))
    if (await hears(socket)) return socket
  }
}

/** Waits for a message. False where the connection ends before one comes. */
const hears = (socket: WebSocket): Promise<boolean> =>
  new Promise((resolve) => {
    const end = (): void => resolve(false)
    socket.once('close', end).once('message', () => {
      socket.off('close', end)
      resolve(true)
    })
  })

/** Waits until the server has read all that was sent: frames are answered in order. */
async function answered(socket: WebSocket): Promise<void> {
  if (socket.readyState !== WebSocket.OPEN) return
  const settled = new Promise<void>((resolve) => {
    const settle = (): void => {
      socket.off('pong', settle).off('close', settle)
      resolve()
    }
    socket.on('pong', settle).on('close', settle)
  })
  socket.ping()
  await within(settled, 30_000, () => 'The server does not answer any more')
}

async function upgraded(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  )
  await new Promise((resolve) => socket.once('data', resolve))
  socket.resume()
  return socket
}

/** What the server's process holds in memory, in megabytes. */
function memoryMb({ pid }: ServerProcess): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(kilobytes) / 1024)
}

/** Processor time of the server's main thread so far. */
function workMs({ pid }: ServerProcess): number {
  const [nanoseconds] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')
  return Number(nanoseconds) / 1e6
}
