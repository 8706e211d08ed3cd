// A WebSocket client (RFC 6455) that costs the load generator as little as possible: frames are masked when their
// bytes are made, several leave in one write, and received payloads are handed on as views.
import { connect, type Socket } from 'node:net'

/** Every frame is masked with the same key, so that bytes can be masked long before they are sent. */
export const MASK = Uint8Array.of(0x37, 0xfa, 0x21, 0x3d)

const TEXT = 1
const BINARY = 2
const CLOSE = 8
const PING = 9
const PONG = 10

/** All sockets are read into these bytes: nothing of them is kept after a read is dealt with. */
const readBuffer = Buffer.allocUnsafe(256 * 1024)

/** Takes a payload: bytes `start` to `end` of `data`, valid only during the call. */
export type PayloadListener = (data: Buffer, start: number, end: number, isText: boolean) => void

/** One frame of a client around a payload, masked. */
export function maskedFrame(payload: Uint8Array, opcode: number = BINARY): Buffer {
  const { length } = payload
  const head = headBytes(length)
  const frame = Buffer.allocUnsafe(head + length)
  frame[0] = 0x80 | opcode
  if (length < 126) frame[1] = 0x80 | length
  else if (length < 65_536) {
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 0x80 | 127
    frame.writeUInt32BE(0, 2)
    frame.writeUInt32BE(length, 6)
  }
  frame.set(MASK, head - 4)
  for (let i = 0; i < length; i++) frame[head + i] = (payload[i] as number) ^ (MASK[i & 3] as number)
  return frame
}

/** Bytes in front of a client's payload of this length. */
export function headBytes(length: number): number {
  return length < 126 ? 6 : length < 65_536 ? 8 : 14
}

/** A client's socket after the handshake. */
export class RawClient {
  onPayload: PayloadListener = () => {}
  /** Called after all payloads of one read. */
  onTurn: () => void = () => {}
  onClose: (reason: string) => void = (reason) => {
    throw new Error(`The server closed a connection: ${reason}`)
  }
  readonly socket: Socket
  bytesReceived = 0
  #rest: Buffer | undefined
  #held: Buffer | undefined
  #isEnding = false

  private constructor(socket: Socket) {
    this.socket = socket
  }

  /** Connects and shakes hands. */
  static open(port: number, path = '/ws', protocol?: string): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      let head: Buffer | undefined = Buffer.alloc(0)
      const onHead = (chunk: Buffer): void => {
        head = Buffer.concat([head as Buffer, chunk])
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return
        socket.off('error', reject)
        const status = head.toString('latin1', 0, head.indexOf('\r\n'))
        const rest = head.subarray(end + 4)
        head = undefined
        if (!status.startsWith('HTTP/1.1 101')) {
          socket.destroy()
          reject(new Error(`The server refused the upgrade: ${status}`))
          return
        }
        socket.on('error', (error) => client.#ended(error.message))
        socket.on('close', () => client.#ended('the socket ended'))
        // Whoever awaits the client sets its listeners first.
        client.#held = rest
        setImmediate(() => client.#release())
        resolve(client)
      }
      const onread = {
        buffer: readBuffer,
        callback(length: number) {
          const chunk = readBuffer.subarray(0, length)
          if (head === undefined) client.#take(chunk)
          else onHead(chunk)
          return true
        },
      }
      const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
      const client = new RawClient(socket)
      socket.once('error', reject)
      socket.write(
        [
          `GET ${path} HTTP/1.1`,
          `Host: 127.0.0.1:${port}`,
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
          ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
          '\r\n',
        ].join('\r\n'),
      )
    })
  }

  /** Sends one payload. */
  send(payload: Uint8Array, isText = false): void {
    this.socket.write(maskedFrame(payload, isText ? TEXT : BINARY))
  }

  end(): void {
    this.#isEnding = true
    this.socket.destroy()
  }

  #ended(reason: string): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.socket.destroy()
    this.onClose(reason)
  }

  #release(): void {
    const held = this.#held
    this.#held = undefined
    if (held !== undefined && held.length > 0) this.#take(held)
  }

  #take(chunk: Buffer): void {
    if (this.#held !== undefined) {
      this.#held = Buffer.concat([this.#held, chunk])
      return
    }
    this.bytesReceived += chunk.length
    let data = chunk
    if (this.#rest !== undefined) {
      data = Buffer.concat([this.#rest, chunk])
      this.#rest = undefined
    }
    let at = 0
    const { length } = data
    while (at + 2 <= length) {
      const opcode = (data[at] as number) & 0x0f
      let size = (data[at + 1] as number) & 0x7f
      let start = at + 2
      if (size === 126) {
        if (at + 4 > length) break
        size = data.readUInt16BE(at + 2)
        start = at + 4
      } else if (size === 127) {
        if (at + 10 > length) break
        size = data.readUInt32BE(at + 6)
        start = at + 10
      }
      const end = start + size
      if (end > length) break
      if (opcode <= 2) this.onPayload(data, start, end, opcode === TEXT)
      else if (opcode === PING) this.socket.write(maskedFrame(data.subarray(start, end), PONG))
      else if (opcode === CLOSE) {
        const code = size >= 2 ? data.readUInt16BE(start) : 1005
        this.#ended(`${code} ${data.toString('utf8', Math.min(start + 2, end), end)}`)
        return
      }
      at = end
    }
    if (at < length) this.#rest = Buffer.from(data.subarray(at))
    this.onTurn()
  }
}
