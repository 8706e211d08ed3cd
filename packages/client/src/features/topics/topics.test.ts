import { startTestServer } from '@syncline/server/testing'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { scene, type Scene } from '../../../test/harness.ts'
import { createClient, defineContract, topic, type Client, type TopicMessage } from '../../index.ts'

const contract = defineContract({
  topics: {
    chat: topic(v.object({ text: v.string(), loud: v.optional(v.boolean(), false) })),
    numbers: topic(v.number()),
  },
})
type Chat = Client<typeof contract>

const topicScene = async (): Promise<Scene & { readonly client: Chat }> =>
  (await scene({ contract })) as Scene & { readonly client: Chat }

const message = (topicName: string, data: unknown, publisherId = 'other'): object => ({
  type: 'TOPIC_MESSAGE',
  payload: { topic: topicName, data, publisherId, timestamp: 5 },
})

test('the first listener subscribes, the last one ends it, and each session subscribes anew', async () => {
  const self = await topicScene()
  const heard: unknown[] = []
  const stop = self.client.topics.numbers.subscribe(({ data, from, at }) => heard.push([data, from, at]))
  const stopOther = self.client.topics.numbers.subscribe(() => heard.push('other'))
  expect(self.sent('TOPIC_SUB')).toEqual([])
  await self.greet()
  expect(self.sent('TOPIC_SUB')).toEqual([{ type: 'TOPIC_SUB', payload: { topic: 'numbers' } }])
  await self.say(message('numbers', 7))
  expect(heard).toEqual([[7, 'other', 5], 'other'])
  stopOther()
  self.socket.drop()
  await self.world.advance(1_000)
  await self.greet()
  expect(self.sent('TOPIC_SUB')).toHaveLength(1)
  stop()
  stop()
  expect(self.sent('TOPIC_UNSUB')).toEqual([{ type: 'TOPIC_UNSUB', payload: { topic: 'numbers' } }])
  await self.say(message('numbers', 8))
  expect(heard).toHaveLength(2)
  {
    using _ended = self.client.topics.numbers.subscribe(() => {})
    expect(self.sent('TOPIC_SUB')).toHaveLength(1)
  }
  expect(self.sent('TOPIC_UNSUB')).toHaveLength(1)
  const controller = new AbortController()
  self.client.topics.numbers.subscribe(() => {}, { signal: controller.signal })
  controller.abort()
  self.client.topics.numbers.subscribe(() => {}, { signal: controller.signal })
  expect([self.sent('TOPIC_SUB').length, self.sent('TOPIC_UNSUB').length]).toEqual([1, 1])
})

test('what does not fit the schema is neither published nor delivered', async () => {
  const self = await topicScene()
  await self.greet()
  const heard: unknown[] = []
  self.client.topics.chat.subscribe(({ data }) => heard.push(data))
  expect(() => self.client.topics.chat.publish({ text: 5 } as never)).toThrow(
    expect.objectContaining({ code: 'VALIDATION_ERROR', message: expect.stringContaining('text') as string }),
  )
  expect(() => self.client.topics.chat.publish({ text: 'x'.repeat(300_000) })).toThrow(
    expect.objectContaining({ code: 'TOO_LARGE' }),
  )
  self.client.topics.chat.publish({ text: 'hi' })
  expect(self.sent('TOPIC_PUB').map(({ payload }) => payload)).toEqual([{ topic: 'chat', data: { text: 'hi' } }])
  await self.say(message('chat', { text: 5 }))
  await self.say(message('chat', { text: 'hello' }))
  expect(heard).toEqual([{ text: 'hello', loud: false }])
  expect(self.events).toMatchObject([['error', { error: { code: 'VALIDATION_ERROR' } }]])
})

test('what is published offline waits, up to 100 messages, in order; the oldest is given up and told', async () => {
  const self = await topicScene()
  for (let i = 0; i < 103; i++) self.client.topics.numbers.publish(i)
  expect(self.events.map(([, event]) => event)).toMatchObject(
    Array.from({ length: 3 }, () => ({ error: { code: 'BACKPRESSURE' } })),
  )
  await self.greet()
  const data = self.sent('TOPIC_PUB').map(({ payload }) => payload['data'])
  expect(data).toEqual(Array.from({ length: 100 }, (_, i) => i + 3))
  self.socket.drop()
  await self.world.advance(1_000)
  await self.greet()
  expect(self.sent('TOPIC_PUB')).toEqual([])
})

test('what one user published offline is not sent in the name of the next', async () => {
  const self = (await scene({ contract, auth: () => 'token' })) as Scene & { readonly client: Chat }
  const signIn = async (userId: string): Promise<void> => {
    await self.say({ type: 'AUTH_REQUIRED', serverTime: self.world.nowMs, protocolVersion: 1 })
    const serverTime = self.world.nowMs
    await self.say({ type: 'AUTH_ACK', protocolVersion: 1, userId, serverTime, databaseId: 'db' })
  }
  await signIn('ann')
  self.socket.drop()
  self.client.topics.numbers.publish(1)
  await self.world.advance(1_000)
  await signIn('bob')
  expect(self.sent('TOPIC_PUB')).toEqual([])
  self.client.topics.numbers.publish(2)
  expect(self.sent('TOPIC_PUB').map(({ payload }) => payload['data'])).toEqual([2])
})

test('INV-16: what the server dropped is told at once, and with the next message', async () => {
  const self = await topicScene()
  await self.greet()
  const heard: unknown[] = []
  self.client.topics.numbers.subscribe(({ data, missed }) => heard.push([data, missed]), {
    onMissed: (count) => heard.push(`missed ${count}`),
  })
  await self.say(message('numbers', 1))
  await self.say({ type: 'TOPIC_DROPPED', payload: { topic: 'numbers', dropped: 12 } })
  await self.say(message('numbers', 2))
  await self.say(message('numbers', 3))
  expect(heard).toEqual([[1, 0], 'missed 12', [2, 12], [3, 0]])
})

test('a stream keeps a bounded number of messages for a slow loop and counts what it leaves out', async () => {
  const self = await topicScene()
  await self.greet()
  const stream = self.client.topics.numbers.stream({ buffer: 3 })
  for (let i = 0; i < 8; i++) await self.say(message('numbers', i))
  await self.say({ type: 'TOPIC_DROPPED', payload: { topic: 'numbers', dropped: 10 } })
  await self.say(message('numbers', 8))
  const seen: unknown[] = []
  for await (const { data, missed } of stream) {
    seen.push([data, missed])
    if (data === 8) break
  }
  expect(seen).toEqual([
    [6, 6],
    [7, 0],
    [8, 10],
  ])
  expect(self.sent('TOPIC_UNSUB')).toHaveLength(1)
  expect(await stream.next()).toEqual({ done: true, value: undefined })
})

test('a stream gives waiting loops what comes, and ends with its signal and with the client', async () => {
  const self = await topicScene()
  await self.greet()
  const controller = new AbortController()
  const [first, second] = [
    self.client.topics.numbers.stream({ signal: controller.signal }),
    self.client.topics.numbers.stream(),
  ]
  const asked = [first.next(), first.next(), second.next()]
  await self.say(message('numbers', 1))
  await self.say(message('numbers', 2))
  expect(await Promise.all(asked)).toMatchObject([
    { value: { data: 1 } },
    { value: { data: 2 } },
    { value: { data: 1 } },
  ])
  const waiting = first.next()
  controller.abort()
  expect(await waiting).toEqual({ done: true, value: undefined })
  expect((await second.next()).value).toMatchObject({ data: 2 })
  const last = second.next()
  await self.client.close()
  expect(await last).toEqual({ done: true, value: undefined })
  expect(() => self.client.topics.numbers.publish(1)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  expect(() => self.client.topics.numbers.stream({ buffer: 0 })).toThrow(
    expect.objectContaining({ code: 'VALIDATION_ERROR' }),
  )
})

test('two clients of a real server hear each other and not themselves, and refusals are told', async () => {
  await using server = await startTestServer()
  await using ann = createClient({ contract, url: `${server.url}/ws` })
  await using bob = createClient({ contract, url: `${server.url}/ws` })
  const stream = bob.topics.chat.stream()
  const own = ann.topics.chat.stream()
  const heard: Promise<IteratorResult<TopicMessage<{ text: string; loud: boolean }>>> = stream.next()
  // Nothing says when a subscription has arrived: it is published until somebody hears it.
  const timer = setInterval(() => ann.topics.chat.publish({ text: 'hello' }), 20)
  const { value } = await heard
  clearInterval(timer)
  expect(value).toMatchObject({ data: { text: 'hello', loud: false }, missed: 0 })
  expect((value as TopicMessage<unknown>).from).toMatch(/.+/)
  bob.topics.chat.publish({ text: 'back' })
  expect((await own.next()).value).toMatchObject({ data: { text: 'back' } })
})
