import { expect, test } from 'vitest'
import { failureOf, liveScene, scene, type Scene } from '../../../test/harness.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { createClient } from '../../index.ts'

interface Read {
  readonly requestId: string
  readonly [name: string]: unknown
}

const reads = (self: Scene): Read[] => self.sent('JOURNAL_READ') as unknown as Read[]

const event = (sequence: number, value?: unknown) => ({
  sequence: String(sequence),
  type: value === undefined ? 'DELETE' : 'PUT',
  mapName: 'todos',
  key: 'a',
  ...(value === undefined ? {} : { value }),
  timestamp: { millis: 1_000 + sequence, counter: 0, nodeId: 'n' },
  nodeId: 'n',
  metadata: { userId: `user${sequence}` },
})

async function answer(self: Scene, { requestId }: Read, events: unknown[], hasMore = false, nextSequence = '1') {
  await self.say({ type: 'JOURNAL_READ_RESPONSE', requestId, epoch: 'e', events, hasMore, nextSequence })
}

test('[JO2] the history of a key has what it held, when and by whom, the newest first', async () => {
  const self = await liveScene()
  const asking = self.client.map('todos').history('a', { limit: 3 })
  await self.world.settle()
  const [read] = reads(self)
  expect(read).toMatchObject({ mapName: 'todos', key: 'a', limit: 3, fromSequence: '0', newestFirst: true })
  await answer(self, read as Read, [event(9), event(7, { text: 'Milk' })])
  expect(await asking).toEqual([
    { value: undefined, at: 1_009, by: 'user9' },
    { value: { text: 'Milk' }, at: 1_007, by: 'user7' },
  ])
})

test('[JO2] a long one is read page by page, and no further than asked for', async () => {
  const self = await liveScene()
  const asking = self.client.map('todos').history('a', { limit: 150 })
  await self.world.settle()
  const page = (from: number, count: number): unknown[] => Array.from({ length: count }, (_, i) => event(from - i, i))
  const [first] = reads(self)
  expect(first).toMatchObject({ limit: 100 })
  await answer(self, first as Read, page(500, 100), true, '400')
  const [second] = reads(self)
  expect(second).toMatchObject({ limit: 50, fromSequence: '400' })
  await answer(self, second as Read, page(400, 50), true, '350')
  expect(await asking).toHaveLength(150)
  expect(reads(self)).toEqual([])
})

test('a history waits for a connection, is asked again after a lost one, and rejects with what keeps it from coming', async () => {
  const self = await scene()
  const todos = self.client.map('todos')
  const waiting = todos.history('a')
  await self.world.settle()
  expect(reads(self)).toEqual([])
  await self.greet()
  expect(reads(self)).toHaveLength(1)
  self.socket.drop()
  await self.world.advance(2_000)
  await self.greet()
  const [again] = reads(self)
  await answer(self, again as Read, [])
  expect(await waiting).toEqual([])
  const refused = failureOf(todos.history('a'))
  await self.world.settle()
  const { requestId } = reads(self)[0] as Read
  const payload = { code: 501, errorCode: 'NOT_ENABLED', message: 'No journal.' }
  await self.say({ type: 'ERROR', requestId, payload })
  expect(await refused).toMatchObject({ code: 'NOT_ENABLED' })
  const late = failureOf(todos.history('a', { timeoutMs: 500 }))
  await self.world.advance(600)
  expect(await late).toMatchObject({ code: 'TIMEOUT' })
  const controller = new AbortController()
  const aborted = failureOf(todos.history('a', { signal: controller.signal }))
  controller.abort('enough')
  expect(await aborted).toBe('enough')
  for (const limit of [0, 1.5, Number.NaN])
    expect(await failureOf(todos.history('a', { limit }))).toMatchObject({ code: 'VALIDATION_ERROR' })
  const closed = failureOf(todos.history('a'))
  await self.client.close()
  expect(await closed).toMatchObject({ code: 'CLOSED' })
  const offline = createClient({ env: new Tab(new World(), 'other').env() })
  expect(await failureOf(offline.map('todos').history('a'))).toMatchObject({ code: 'OFFLINE' })
})
