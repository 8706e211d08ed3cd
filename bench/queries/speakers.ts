// What subscribers and writers say to each kind of server, and what of its answers is a delivery.
import { encodeFrame, type ServerMessage } from '@syncline/protocol'
import { createDecoder, readVarString, readVarUint, readVarUint8Array } from 'lib0/decoding'
import { createEncoder, toUint8Array, writeVarString, writeVarUint, writeVarUint8Array } from 'lib0/encoding'
import { Doc, encodeStateVector } from 'yjs'
import { MAP, VALUE, keyOf } from '../lib/op-template.ts'
import { RawClient } from '../lib/raw-client.ts'
import { eachMessage, messagesIn, openSession, sendMessage } from '../lib/session.ts'

/** Speaks with one kind of server. */
export interface Speaker {
  /** Connects a subscriber, which has what there is, and calls back for each change that it is sent. */
  subscribe(port: number, delivered: () => void): Promise<RawClient>
  /** Connects a writer. `write` sends one change of a key; each is acknowledged by a call back. */
  writer(port: number, acknowledged: () => void): Promise<{ client: RawClient; write: (key: number) => void }>
}

let written = 0

function putFrame(key: number): Uint8Array {
  const id = `op${String(++written)}`
  const timestamp = { millis: Date.now(), counter: written % 60_000, nodeId: 'writer' }
  const record = { value: { ...VALUE, priority: written }, timestamp }
  const payload = { id, mapName: MAP, key: keyOf(key), opType: 'PUT', record } as const
  return encodeFrame('msgpack', { type: 'CLIENT_OP', payload }) as Uint8Array
}

async function acknowledgedWriter(opened: Promise<RawClient>, acknowledged: () => void): ReturnType<Speaker['writer']> {
  const client = await opened
  client.onPayload = (data, start, end) =>
    eachMessage(data, start, end, (part, from, to) => {
      if (typeAt(part, from).startsWith('OP_ACK')) acknowledged()
      else if (!typeAt(part, from).startsWith('SERVER_')) throw new Error(part.toString('latin1', from, to))
    })
  return { client, write: (key) => client.send(putFrame(key)) }
}

/** A message's type: the bytes after the name of the first member. */
function typeAt(data: Buffer, start: number): string {
  return data.toString('latin1', start + 7, start + 20)
}

/** Everybody asks the same live query. */
export const syncline: Speaker = {
  async subscribe(port, delivered) {
    const client = await openSession(port)
    await new Promise<void>((resolve) => {
      client.onPayload = (data, start, end) => {
        const isResult = (message: ServerMessage): boolean =>
          message.type === 'QUERY_RESP' && message.payload.more !== true
        if (messagesIn(data.subarray(start, end)).some(isResult)) resolve()
      }
      const query = { where: { list: VALUE.list } }
      sendMessage(client, 'msgpack', { type: 'SYNC_STOP', mapName: MAP })
      sendMessage(client, 'msgpack', { type: 'QUERY_SUB', payload: { queryId: 'q1', mapName: MAP, query } })
      // Existing clients follow a map that they query; a client by cursor does not.
      sendMessage(client, 'msgpack', { type: 'SYNC_STOP', mapName: MAP })
    })
    client.onPayload = (data, start, end) =>
      eachMessage(data, start, end, (part, from) => {
        if (typeAt(part, from).startsWith('QUERY_UPDATE')) delivered()
      })
    return client
  },
  writer: (port, acknowledged) => acknowledgedWriter(openSession(port), acknowledged),
}

/** The server sends what the writer sends to everybody. */
export const bare: Speaker = {
  async subscribe(port, delivered) {
    const client = await RawClient.open(port)
    client.onPayload = (data, start, end) => eachMessage(data, start, end, delivered)
    return client
  },
  writer: (port, acknowledged) => acknowledgedWriter(RawClient.open(port), acknowledged),
}

const DOCUMENT = 'bench'
const SYNC = 0
const AUTH = 2
const SYNC_STATUS = 8
const UPDATE = 2

function frame(type: number, write: (encoder: ReturnType<typeof createEncoder>) => void): Uint8Array {
  const encoder = createEncoder()
  writeVarString(encoder, DOCUMENT)
  writeVarUint(encoder, type)
  write(encoder)
  return toUint8Array(encoder)
}

/** Signs in, and takes the document as it is. */
async function openDocument(port: number): Promise<RawClient> {
  const client = await RawClient.open(port, '/')
  await new Promise<void>((resolve) => {
    client.onPayload = (data, start, end) => {
      const decoder = createDecoder(data.subarray(start, end))
      readVarString(decoder)
      const type = readVarUint(decoder)
      if (type === AUTH) {
        const stateVector = encodeStateVector(new Doc())
        client.send(
          frame(SYNC, (encoder) => {
            writeVarUint(encoder, 0)
            writeVarUint8Array(encoder, stateVector)
          }),
        )
      } else if (type === SYNC && readVarUint(decoder) === 1) resolve()
    }
    client.send(
      frame(AUTH, (encoder) => {
        writeVarUint(encoder, 0)
        writeVarString(encoder, 'token')
        writeVarString(encoder, '4.7.0')
      }),
    )
  })
  return client
}

/** Everybody has the document open. */
export const hocuspocus: Speaker = {
  async subscribe(port, delivered) {
    const client = await openDocument(port)
    client.onPayload = (data, start, end) => {
      const decoder = createDecoder(data.subarray(start, end))
      readVarString(decoder)
      if (readVarUint(decoder) === SYNC && readVarUint(decoder) === UPDATE && readVarUint8Array(decoder).length > 0) {
        delivered()
      }
    }
    return client
  },
  async writer(port, acknowledged) {
    const client = await openDocument(port)
    const document = new Doc()
    const records = document.getMap(MAP)
    document.on('update', (update: Uint8Array) => {
      client.send(
        frame(SYNC, (encoder) => {
          writeVarUint(encoder, UPDATE)
          writeVarUint8Array(encoder, update)
        }),
      )
    })
    client.onPayload = (data, start, end) => {
      const decoder = createDecoder(data.subarray(start, end))
      readVarString(decoder)
      if (readVarUint(decoder) === SYNC_STATUS) acknowledged()
    }
    return { client, write: (key) => void records.set(keyOf(key), { ...VALUE, priority: ++written }) }
  },
}
