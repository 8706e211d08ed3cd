// A raw client that is authenticated, and what its messages look like.
import {
  decodeFrame,
  encodeFrame,
  isBatch,
  splitBatch,
  type ClientMessage,
  type Encoding,
  type ServerMessage,
} from '@syncline/protocol'
import { SignJWT } from 'jose'
import { RawClient } from './raw-client.ts'
import { BENCH_SECRET } from './servers.ts'

let token: Promise<string> | undefined

/** The token of everybody in a run. */
export function signToken(): Promise<string> {
  token ??= new SignJWT({ roles: ['USER'] })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('bench')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(BENCH_SECRET))
  return token
}

/** Connects and authenticates. The server answers in the encoding in which it is spoken to. */
export async function openSession(port: number, encoding: Encoding = 'msgpack'): Promise<RawClient> {
  const jwt = await signToken()
  const client = await RawClient.open(port)
  await new Promise<void>((resolve, reject) => {
    client.onClose = (reason) => reject(new Error(`Not authenticated: ${reason}`))
    client.onPayload = (data, start, end, isText) => {
      for (const message of messagesIn(data.subarray(start, end), isText)) {
        if (message.type === 'AUTH_REQUIRED') sendMessage(client, encoding, { type: 'AUTH', token: jwt })
        else if (message.type === 'AUTH_ACK') resolve()
        else reject(new Error(`Not authenticated: ${JSON.stringify(message)}`))
      }
    }
  })
  client.onPayload = () => {}
  client.onClose = (reason) => {
    throw new Error(`The server closed a connection: ${reason}`)
  }
  return client
}

/** Sends a message. Returns the bytes of its payload. */
export function sendMessage(client: RawClient, encoding: Encoding, message: ClientMessage): number {
  const frame = encodeFrame(encoding, message)
  const payload = typeof frame === 'string' ? Buffer.from(frame) : frame
  client.send(payload, encoding === 'json')
  return payload.length
}

/** Decodes a payload in full, BATCH frames taken apart. */
export function messagesIn(payload: Uint8Array, isText = false): ServerMessage[] {
  const decoded = decodeFrame(isText ? Buffer.from(payload).toString() : Buffer.from(payload))
  if (!decoded.ok) throw new Error(`A frame cannot be decoded: ${decoded.error.message}`)
  const { message } = decoded.value
  if (!isBatch(message)) return [message as ServerMessage]
  const frames = splitBatch(message)
  if (!frames.ok) throw new Error(`A batch cannot be split: ${frames.error.message}`)
  return frames.value.flatMap((frame) => messagesIn(frame))
}

const COUNT_AT = 19
const BODY_AT = 33

/** Calls `visit` for each message of a payload, without decoding any. */
export function eachMessage(
  data: Buffer,
  start: number,
  end: number,
  visit: (data: Buffer, start: number, end: number) => void,
): void {
  // {type: 'BATCH', count, data}: no other message has three members and a type that begins with B.
  if (data[start] !== 0x83 || data[start + 7] !== 0x42) return visit(data, start, end)
  let left = data.readUInt32BE(start + COUNT_AT)
  let at = start + BODY_AT + 4
  while (left-- > 0) {
    const length = data.readUInt32LE(at)
    at += 4
    visit(data, at, at + length)
    at += length
  }
}
