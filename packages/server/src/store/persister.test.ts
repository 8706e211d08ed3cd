import { memoryStorage, StorageError, type StorageAdapter } from '@syncline/storage'
import { expect, test } from 'vitest'
import { nodeEnv } from '../env.ts'
import { createServer } from '../server.ts'
import { GatedStorage, clientOp, put } from '../testing/harness.ts'
import { startTestServer } from '../testing/test-server.ts'

test('INV-24: a server whose disk is full when it stops says so and stops all the same', async () => {
  const inner = memoryStorage()
  let isFull = false
  let isClosed = false
  const storage: StorageAdapter = {
    ...inner,
    write: async (batch) => {
      if (isFull) throw new StorageError('full', 'No space is left.')
      return inner.write(batch)
    },
    close: async () => {
      isClosed = true
    },
  }
  const lines: string[] = []
  const server = createServer({
    auth: 'none',
    listen: false,
    storage,
    env: nodeEnv('info', (line) => lines.push(line)),
  })
  await server.ready()
  isFull = true
  await server.shutdown()
  expect(server.state).toBe('stopped')
  expect(isClosed).toBe(true)
  expect(lines.join('')).toContain('could not be marked as clean')
})

test('INV-24: what a full disk refuses at a stop is stored when there is room again in time', async () => {
  const inner = memoryStorage()
  const storage = new GatedStorage(inner, true)
  const server = await startTestServer({ storage, shutdownTimeoutMs: 10_000 })
  const client = await server.connect()
  storage.fault = () => new StorageError('full', 'No space is left.')
  client.send(clientOp(put('m', 'k', 1)))
  await client.take('OP_ACK')
  setTimeout(() => (storage.fault = undefined), 300)
  await server.server.shutdown()
  const stored = storage.batches.at(-2)?.records.map(({ key }) => key)
  expect(stored).toEqual(['k'])
  expect(storage.batches.at(-1)?.records).toEqual([])
  expect(server.log.join('')).not.toContain('not stored')
})

test('INV-24: a stop that cannot store what it acknowledged rejects and says how much is lost', async () => {
  const storage = new GatedStorage(memoryStorage(), true)
  let isClosed = false
  const close = storage.close.bind(storage)
  storage.close = () => {
    isClosed = true
    return close()
  }
  const server = await startTestServer({ storage, shutdownTimeoutMs: 300 })
  const client = await server.connect()
  storage.fault = () => new StorageError('full', 'No space is left.')
  client.send(clientOp(put('m', 'k', 1)))
  await client.take('OP_ACK')
  await expect(server.server.shutdown()).rejects.toThrow('the changes of 1 record may not be stored')
  expect(server.server.state).toBe('stopped')
  expect(isClosed).toBe(true)
  expect(server.log.join('')).toContain('not stored  records=1')
})
