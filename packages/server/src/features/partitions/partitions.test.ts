import type { Encoding } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { FakeSocket } from '../../testing/fake-socket.ts'
import { SECRET } from '../../testing/harness.ts'
import { startTestServer } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']

describe.each(encodings)('the map of partitions in %s', (encoding) => {
  test('[PM1] [PM2] one server owns all 271, under the address that the client came by, which can be connected to', async () => {
    await using server = await startTestServer({ nodeId: 'node-1' })
    const client = await server.connect({ encoding })
    client.send({ type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: 0 }, requestId: 'p' })
    const { requestId, payload } = await client.take('PARTITION_MAP')
    expect(requestId).toBe('p')
    expect(payload).toMatchObject({ partitionCount: 271, version: expect.any(Number), generatedAt: expect.any(Number) })
    const address = `127.0.0.1:${server.server.port}`
    const endpoints = { websocket: `ws://${address}/ws`, http: `http://${address}` }
    expect(payload.nodes).toEqual([{ nodeId: 'node-1', endpoints, status: 'ACTIVE' }])
    expect(payload.partitions.map(({ partitionId }) => partitionId)).toEqual(Array.from({ length: 271 }, (_, i) => i))
    for (const partition of payload.partitions) {
      expect(partition).toMatchObject({ ownerNodeId: 'node-1', backupNodeIds: [] })
    }
    const health = await fetch(`${endpoints.http}/health`)
    expect(health.status).toBe(200)
  })

  test('[PM1] who knows the version is not answered; without one, and after a restart, it is', async () => {
    let version: number
    {
      await using server = await startTestServer()
      const client = await server.connect({ encoding })
      client.send({ type: 'PARTITION_MAP_REQUEST', payload: {} })
      version = (await client.take('PARTITION_MAP')).payload.version
      client.send({ type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: version } })
      await client.settle()
      expect(client.inbox.filter(({ type }) => type === 'PARTITION_MAP')).toEqual([])
    }
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    client.send({ type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: version } })
    expect((await client.take('PARTITION_MAP')).payload.version).toBeGreaterThan(version)
  })
})

test('[PM2] the addresses of the options are given instead, and none where there is none', async () => {
  const partitions = { websocketUrl: 'wss://app.example/ws', httpUrl: 'https://app.example' }
  await using server = await startTestServer({ partitions })
  const client = await server.connect()
  client.send({ type: 'PARTITION_MAP_REQUEST', payload: {} })
  const endpoints = { websocket: partitions.websocketUrl, http: partitions.httpUrl }
  expect((await client.take('PARTITION_MAP')).payload.nodes[0]?.endpoints).toEqual(endpoints)
  await using bare = await startTestServer()
  const socket = new FakeSocket(bare.server)
  socket.receive({ type: 'PARTITION_MAP_REQUEST', payload: {} })
  await socket.settle()
  const map = socket.written.find((message) => message.type === 'PARTITION_MAP')
  expect(map?.payload.nodes[0]?.endpoints).toEqual({ websocket: '' })
})

test('[PM1] INV-21: nobody is told before AUTH', async () => {
  await using server = await startTestServer({ jwtSecret: SECRET })
  const client = await server.connect()
  client.send({ type: 'PARTITION_MAP_REQUEST', payload: {} })
  expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'UNAUTHORIZED' })
})
