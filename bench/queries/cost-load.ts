// Writes to a map that live queries are asked of, each of which changes the result of one of them.
import type { QuerySpec, Value } from '@syncline/core'
import { encodeFrame } from '@syncline/protocol'
import { MAP } from '../lib/op-template.ts'
import type { RawClient } from '../lib/raw-client.ts'
import { answer } from '../lib/remote.ts'
import { eachMessage, messagesIn, openSession, sendMessage } from '../lib/session.ts'

/** What is asked, and what is written. */
export interface CostLoad {
  readonly port: number
  readonly records: number
  /** So many queries, each for one record; or one window over all records. */
  readonly ask: { readonly queries: number } | 'window'
}

/** What was written since `begin`, and the changes of results that it brought. */
export interface Written {
  readonly elapsedMs: number
  readonly writes: number
  readonly updates: number
}

const QUERIES_PER_CONNECTION = 100
const IN_FLIGHT = 16
const WINDOW = 50
const FILL = 1_000

const clients: RawClient[] = []
let [writes, updates, startedAt, stamps] = [0, 0, 0, 0]
let isSending = true
let inFlight = 0

const keyOf = (at: number): string => `r${String(at).padStart(6, '0')}`
const timestamp = () => ({ millis: Date.now(), counter: ++stamps % 60_000, nodeId: 'writer' })
const valueOf = (at: number): Value => ({ n: at, title: 'Buy three litres of milk and a loaf of bread', turn: stamps })

async function fill(client: RawClient, records: number): Promise<void> {
  for (let from = 0; from < records; from += FILL) {
    const ops = Array.from({ length: Math.min(FILL, records - from) }, (_, i) => ({
      id: String(from + i),
      mapName: MAP,
      key: keyOf(from + i),
      opType: 'PUT' as const,
      record: { value: valueOf(from + i), timestamp: timestamp() },
    }))
    await answered(client, 'OP_ACK', () => sendMessage(client, 'msgpack', { type: 'OP_BATCH', payload: { ops } }))
  }
}

/** Sends, and waits for the answer. */
function answered(client: RawClient, type: string, send: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    client.onPayload = (data, start, end) => {
      for (const message of messagesIn(data.subarray(start, end))) {
        if (message.type === 'ERROR') reject(new Error(JSON.stringify(message.payload)))
        if (message.type === type && !('more' in message && message.more === true)) resolve()
      }
    }
    send()
  })
}

async function ask(port: number, queries: readonly QuerySpec[]): Promise<void> {
  const client = await openSession(port)
  clients.push(client)
  for (const [i, query] of queries.entries()) {
    const payload = { queryId: `q${i}`, mapName: MAP, query }
    await answered(client, 'QUERY_RESP', () => sendMessage(client, 'msgpack', { type: 'QUERY_SUB', payload }))
  }
  sendMessage(client, 'msgpack', { type: 'SYNC_STOP', mapName: MAP })
  client.onPayload = (data, start, end) =>
    eachMessage(data, start, end, (part, from) => {
      if (part.toString('latin1', from + 7, from + 19) === 'QUERY_UPDATE') updates++
    })
}

answer({
  async open({ port, records, ask: asked }: CostLoad) {
    const writer = await openSession(port)
    clients.push(writer)
    await fill(writer, records)
    if (asked === 'window') await ask(port, [{ sort: { n: 'desc' }, limit: WINDOW }])
    else {
      for (let from = 0; from < asked.queries; from += QUERIES_PER_CONNECTION) {
        const count = Math.min(QUERIES_PER_CONNECTION, asked.queries - from)
        await ask(
          port,
          Array.from({ length: count }, (_, i) => ({ where: { n: from + i } })),
        )
      }
    }
    const targets = asked === 'window' ? WINDOW : asked.queries
    const send = (): void => {
      inFlight++
      // Records from the end on are those that the window shows; else one for each query, in turn.
      const turn = writes % targets
      const at = asked === 'window' ? records - 1 - turn : turn
      const record = { value: valueOf(at), timestamp: timestamp() }
      const payload = { id: String(stamps), mapName: MAP, key: keyOf(at), opType: 'PUT' as const, record }
      writer.send(encodeFrame('msgpack', { type: 'CLIENT_OP', payload }) as Uint8Array)
    }
    writer.onPayload = (data, start, end) =>
      eachMessage(data, start, end, (part, from) => {
        if (part.toString('latin1', from + 7, from + 13) !== 'OP_ACK') return
        inFlight--
        writes++
        if (isSending) send()
      })
    for (let i = 0; i < IN_FLIGHT; i++) send()
  },
  begin() {
    writes = updates = 0
    startedAt = performance.now()
  },
  read(): Written {
    if (updates < writes / 2) throw new Error(`${writes} writes brought ${updates} changes of results`)
    return { elapsedMs: performance.now() - startedAt, writes, updates }
  },
  async close() {
    isSending = false
    while (inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 10))
    for (const client of clients) client.end()
  },
})
