import { memoryStorage, StorageError, type StorageAdapter } from '@syncline/storage'
import { expect, test } from 'vitest'
import { nodeEnv } from '../env.ts'
import { createServer } from '../server.ts'

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
