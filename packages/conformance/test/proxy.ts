import { decodeJson, decodeMsgpack, encodeValueJson, encodeValueMsgpack } from '@syncline/protocol'
import { WebSocket, WebSocketServer } from 'ws'
import type { Encoding, Payload } from '../src/wire.ts'

/** A message as it passes by. */
export interface Passing {
  readonly type: string
  readonly payload?: Payload
  readonly [member: string]: unknown
}

/** What a server does wrong, as seen from outside: what it makes of a message before it is passed on. */
export interface Fault {
  /** Messages to send instead of one from the server. */
  readonly toClient?: (message: Passing, link: Link) => readonly object[]
  /** Messages that the server gets instead of one from the client; those given to `answer` go straight back. */
  readonly toServer?: (message: Passing, answer: (message: object) => void) => readonly object[]
  /** The encoding in which a message leaves. */
  readonly encoding?: (encoding: Encoding) => Encoding
}

/** What a fault remembers of one connection. */
export interface Link {
  held?: object
}

/** A server that does what another one does, with a fault. */
export async function startFaulty(url: string, fault: Fault): Promise<{ readonly url: string; stop(): void }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await new Promise((resolve) => server.once('listening', resolve))
  server.on('connection', (client, request) => {
    const subprotocol = request.headers['sec-websocket-protocol']
    const inner = new WebSocket(url, subprotocol === undefined ? [] : [subprotocol])
    const waiting: (readonly [Buffer, boolean])[] = []
    const link: Link = {}
    let latest: Encoding = 'json'
    const back = (message: object, encoding: Encoding): void => {
      const chosen = fault.encoding?.(encoding) ?? encoding
      client.send(chosen === 'json' ? encodeValueJson(message as never) : encodeValueMsgpack(message as never))
    }
    const forward = (data: Buffer, isBinary: boolean): void => {
      const message = read(data, isBinary)
      latest = isBinary ? 'msgpack' : 'json'
      if (message === undefined || fault.toServer === undefined) inner.send(data, { binary: isBinary })
      else {
        for (const each of fault.toServer(message, (answer) => back(answer, latest))) {
          inner.send(isBinary ? encodeValueMsgpack(each as never) : encodeValueJson(each as never))
        }
      }
    }
    client.on('message', (data: Buffer, isBinary) => {
      if (inner.readyState === WebSocket.OPEN) forward(data, isBinary)
      else waiting.push([data, isBinary])
    })
    inner.on('open', () => {
      for (const [data, isBinary] of waiting.splice(0)) forward(data, isBinary)
    })
    inner.on('message', (data: Buffer, isBinary) => {
      const message = read(data, isBinary)
      if (message === undefined) client.send(data, { binary: isBinary })
      else for (const each of fault.toClient?.(message, link) ?? [message]) back(each, isBinary ? 'msgpack' : 'json')
    })
    inner.on('close', (code, reason) => client.close(code === 1005 || code === 1006 ? 1000 : code, reason))
    inner.on('error', () => client.terminate())
    client.on('close', () => inner.terminate())
  })
  const { port } = server.address() as { readonly port: number }
  return {
    url: `ws://127.0.0.1:${port}`,
    stop() {
      for (const client of server.clients) client.terminate()
      server.close()
    },
  }
}

function read(data: Buffer, isBinary: boolean): Passing | undefined {
  const decoded = isBinary ? decodeMsgpack(data) : decodeJson(data.toString())
  const value = decoded.ok ? decoded.value : undefined
  const isMessage = typeof value === 'object' && value !== null && 'type' in value && value.type !== 'BATCH'
  return isMessage ? (value as Passing) : undefined
}
