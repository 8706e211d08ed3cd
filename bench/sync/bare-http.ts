// The ceiling: what `node:http` does with the same bodies, without any of Syncline's work.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Encoding } from '@syncline/protocol'
import { Packr, Unpackr } from 'msgpackr'
import { answer, processArguments } from '../lib/remote.ts'

/** What the process is started with. */
export interface BareHttpArguments {
  readonly encoding: Encoding
}

interface Body {
  readonly operations: readonly { readonly key: string; readonly record: unknown }[]
  readonly syncMaps: readonly { readonly mapName: string }[]
}

const { encoding } = processArguments() as BareHttpArguments
const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })
const type = encoding === 'json' ? 'application/json; charset=utf-8' : 'application/x-msgpack'
const recordsByKey = new Map<string, unknown>()
/** As long as the stamps of a server that names itself. */
const stamp = { millis: Date.now(), counter: 0, nodeId: `server-${randomUUID()}` }

const http = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
    const body = (encoding === 'json' ? JSON.parse(bytes.toString()) : unpackr.unpack(bytes)) as Body
    for (const { key, record } of body.operations) recordsByKey.set(key, record)
    const reply = {
      serverHlc: stamp,
      ack: {
        lastId: 'http-op-0',
        achievedLevel: 'MEMORY',
        results: [{ opId: 'http-op-0', success: true, achievedLevel: 'MEMORY', latencyMs: 0, seq: 1 }],
      },
      deltas: body.syncMaps.map(({ mapName }) => ({ mapName, records: [], serverSyncTimestamp: stamp })),
      queryResults: [],
      searchResults: [],
      errors: [],
    }
    const encoded = encoding === 'json' ? Buffer.from(JSON.stringify(reply)) : packr.pack(reply)
    response.writeHead(200, { 'content-type': type, 'content-length': encoded.length, 'cache-control': 'no-store' })
    response.end(encoded)
  })
})
await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))

answer({
  port: () => (http.address() as AddressInfo).port,
  stop: () => http.close(),
})
