import { Skipped, expectSame, expectThat } from '../../failure.ts'
import { following, reads, shortly, stampAt, type Scenario } from '../scenario.ts'
import { fieldsOf, inWords } from '../script.ts'

/** How a client connects: CR1 to CR3, and what it takes no notice of. */
export const sessionScenarios: readonly Scenario[] = [
  {
    rule: 'CR1',
    title: 'it signs in with its token, and sends nothing else before AUTH_ACK',
    prepare(script) {
      script.isOptional = false
    },
    async run(script, client) {
      script.intercept = (message) => message.type === 'AUTH'
      await client.tell({ do: 'connect', token: 'a-token' })
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      const link = await script.connection(0)
      const auth = await script.message(link, 'AUTH')
      expectSame(fieldsOf(auth)['token'], 'a-token', 'the token')
      await shortly()
      const early = link.received.filter(({ type }) => type !== 'AUTH' && type !== 'PING')
      expectThat(early.length === 0, 'nothing but AUTH and PING', inWords(early))
      link.send({
        type: 'AUTH_ACK',
        protocolVersion: 1,
        userId: 'ada',
        serverTime: script.now(),
        databaseId: 'script-1',
      })
      await script.op(link, 'a')
    },
  },
  {
    rule: 'CR1',
    title: 'without a token it goes on where AUTH is optional',
    async run(script, client) {
      await client.tell({ do: 'connect' })
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      await script.op(await script.connection(0), 'a')
    },
  },
  {
    rule: 'CR1',
    title: 'without a token it waits where AUTH is not optional',
    prepare(script) {
      script.isOptional = false
    },
    async run(script, client) {
      await client.tell({ do: 'connect' })
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      await script.connection(0)
      await shortly(500)
      const early = script.links.flatMap(({ received }) => received.filter(({ type }) => type !== 'PING'))
      expectThat(early.length === 0, 'nothing but PING', inWords(early))
    },
  },
  {
    rule: 'CR1',
    title: 'after AUTH_FAIL it sends none of its writes',
    prepare(script) {
      script.isOptional = false
      script.intercept = (message, link) => {
        if (message.type !== 'AUTH') return false
        link.send({ type: 'AUTH_FAIL', error: 'jwt expired', code: 401, errorCode: 'UNAUTHORIZED' })
        link.close(4001)
        return true
      }
    },
    async run(script, client) {
      await client.tell({ do: 'connect', token: 'a-token' })
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      await script.message(await script.connection(0), 'AUTH')
      await shortly(1_000)
      const ops = script.links.flatMap((link) => script.ops(link))
      expectThat(ops.length === 0, 'no op', ops)
      expectThat(script.links.length < 10, 'fewer than ten connections in a second', `${script.links.length}`)
    },
  },
  {
    rule: 'CR2',
    title: 'it sends PING while it has nothing to say',
    async run(script, client) {
      await client.tell({ do: 'connect' })
      const link = await script.connection(0)
      const ping = await script.until(
        () => link.received.find(({ type }) => type === 'PING'),
        'PING within 30 s',
        30_000,
      )
      expectThat(typeof fieldsOf(ping)['timestamp'] === 'number', 'a timestamp', ping)
    },
  },
  {
    rule: 'CR2',
    title: 'it gives up a connection on which nothing comes any more, and makes another',
    async run(script, client) {
      script.intercept = () => true
      await client.tell({ do: 'connect' })
      await script.connection(0)
      await script.connection(1, 45_000)
    },
  },
  {
    rule: 'CR3',
    title: 'it comes back after a connection has ended, not before the time that SHUTDOWN_PENDING names',
    async run(script, client) {
      const link = await following(script, client)
      link.send({ type: 'SHUTDOWN_PENDING', retryAfter: 1_000 })
      const toldAt = performance.now()
      link.close(1001)
      const next = await script.connection(1, 30_000)
      const waited = next.openedAt - toldAt
      expectThat(waited >= 950, 'another connection after 1,000 ms', `after ${Math.round(waited)} ms`)
    },
  },
  {
    rule: 'FR15',
    title: 'types and members that it does not know do not disturb it',
    async run(script, client) {
      const link = await following(script, client)
      link.send({ type: 'NEWS_OF_TOMORROW', payload: { a: [1] } })
      link.send({ type: 'GC_PRUNE', payload: { olderThan: stampAt(1) } })
      const record = { value: 1, timestamp: stampAt(script.now()), novelty: { a: 1 } }
      script.put('todos', 'a', record)
      await reads(client, 'a', 1)
      expectThat(!link.closed && script.links.length === 1, 'the same connection', `${script.links.length} connections`)
    },
  },
  {
    rule: 'FR5',
    title: 'maps that look like bytes are read and written as the maps that they are',
    async run(script, client) {
      const link = await following(script, client)
      script.put('todos', 'a', { value: { $bytes: 'theirs' }, timestamp: stampAt(script.now()) })
      await reads(client, 'a', { $bytes: 'theirs' })
      await client.tell({ do: 'write', map: 'todos', key: 'b', value: { $$bytes: 1 } })
      const { record } = await script.op(link, 'b')
      expectSame(record.value, { $$bytes: 1 }, 'the value')
    },
  },
  {
    rule: 'FR16',
    title: 'it takes a BATCH for the messages in it',
    async run(script, client) {
      const link = await following(script, client)
      if (link.encoding !== 'msgpack') throw new Skipped('the client speaks JSON, and a BATCH is for MessagePack')
      const timestamp = stampAt(script.now())
      link.sendBatch([
        script.event('todos', 'a', { value: 1, timestamp }, 201),
        script.event('todos', 'b', { value: 2, timestamp }, 202),
      ])
      await reads(client, 'a', 1)
      await reads(client, 'b', 2)
    },
  },
]
