// A client that comes back to a map of which a part has changed.
import { encodeFrame, type ClientOp } from '@syncline/protocol'
import { Conversation } from '../lib/conversation.ts'
import { MAP, VALUE } from '../lib/op-template.ts'
import { answer } from '../lib/remote.ts'
import { catchUpByCursor, catchUpByTrie, digestsOf, type CaughtUp, type Digests, type Replica } from './replica.ts'

/** What it took to catch up once. */
export interface Seen extends CaughtUp {
  readonly ms: number
  /** From the connect on, with the handshakes. */
  readonly msWithConnect: number
  readonly bytes: number
  /** Bytes of the records that had changed, with their keys and stamps, in MessagePack. */
  readonly changedBytes: number
}

/** The first snapshot, and what `JSON.parse` alone takes for the same bytes where they are JSON. */
export interface Snapshot {
  readonly ms: number
  readonly bytes: number
  readonly parseMs: number
  /** CPU time of the client. */
  readonly cpuMs: number
}

const OPS_PER_BATCH = 500
const BATCHES_IN_FLIGHT = 4

let port = 0
let records = 0
let generation = 0
let changedBytes = 0
let digests: Digests | undefined
let replica: Replica = { recordsByKey: new Map(), cursor: null }

function keyOf(index: number): string {
  return `todo:${String(index).padStart(6, '0')}`
}

function opOf(index: number, millis: number): ClientOp {
  const record = {
    value: { ...VALUE, priority: generation % 100 },
    timestamp: { millis, counter: 0, nodeId: 'writer-00' },
  }
  return { id: `op${index}`, mapName: MAP, key: keyOf(index), opType: 'PUT', record }
}

/** Writes the records with these numbers. Returns the bytes of them, with keys and stamps. */
async function write(indexes: readonly number[]): Promise<number> {
  generation++
  const millis = Date.now()
  const writer = await Conversation.open(port)
  let bytes = 0
  let waiting = 0
  for (let from = 0; from < indexes.length; from += OPS_PER_BATCH) {
    const ops = indexes.slice(from, from + OPS_PER_BATCH).map((index) => opOf(index, millis))
    for (const { key, record } of ops) bytes += bytesOf({ key, record })
    writer.send({ type: 'OP_BATCH', payload: { ops } })
    if (++waiting >= BATCHES_IN_FLIGHT) waiting -= await acknowledged(writer)
  }
  while (waiting > 0) waiting -= await acknowledged(writer)
  writer.end()
  return bytes
}

async function acknowledged(writer: Conversation): Promise<number> {
  const { results } = (await writer.take('OP_ACK')).payload
  const failed = results.find(({ success }) => !success)
  if (failed !== undefined) throw new Error(`Not written: ${JSON.stringify(failed)}`)
  return 1
}

function bytesOf(part: object): number {
  return (encodeFrame('msgpack', part as never) as Uint8Array).length
}

/** Every `step`th record, beginning with another one each time. */
function changing(share: number): number[] {
  const step = Math.round(1 / share)
  return Array.from({ length: Math.floor(records / step) }, (_, i) => i * step + (generation % step))
}

/** Both sides must hold the same: the server says the digest of its map. */
async function verify(of: Replica): Promise<void> {
  const conversation = await Conversation.open(port)
  conversation.send({ type: 'SYNC_TRIE', payload: { mapName: MAP } })
  const { digest } = (await conversation.take('SYNC_TRIE_RESP')).payload
  conversation.end()
  const own = digestsOf(of).trie.digest()
  if (own !== digest || of.recordsByKey.size !== records)
    throw new Error(`The client holds ${own}, the server ${digest}`)
}

answer({
  async seed(load: { port: number; records: number }) {
    ;({ port, records } = load)
    await write(Array.from({ length: records }, (_, i) => i))
  },
  async snapshot({ encoding }: { encoding: 'json' | 'msgpack' }): Promise<Snapshot> {
    const fresh: Replica = { recordsByKey: new Map(), cursor: null }
    const conversation = await Conversation.open(port, encoding)
    conversation.kept = []
    const before = process.cpuUsage()
    const start = performance.now()
    await catchUpByCursor(conversation, MAP, fresh)
    const ms = performance.now() - start
    conversation.end()
    const { user, system } = process.cpuUsage(before)
    replica = fresh
    const parsing = performance.now()
    if (encoding === 'json') for (const payload of conversation.kept) JSON.parse(payload.toString())
    const parseMs = performance.now() - parsing
    return { ms, bytes: conversation.bytesReceived, parseMs, cpuMs: (user + system) / 1000 }
  },
  async change({ share }: { share: number }) {
    digests = digestsOf(replica)
    changedBytes = await write(changing(share))
  },
  async reconnect({ by }: { by: 'cursor' | 'trie' }): Promise<Seen> {
    const connecting = performance.now()
    const conversation = await Conversation.open(port)
    const start = performance.now()
    const caughtUp =
      by === 'cursor'
        ? await catchUpByCursor(conversation, MAP, replica)
        : await catchUpByTrie(conversation, MAP, replica, digests as Digests)
    const end = performance.now()
    conversation.end()
    const bytes = conversation.bytesReceived + conversation.bytesSent
    return { ...caughtUp, ms: end - start, msWithConnect: end - connecting, bytes, changedBytes }
  },
  verify: () => verify(replica),
})
