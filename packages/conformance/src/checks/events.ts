import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat, shown } from '../failure.ts'
import type { Vector } from '../vectors.ts'
import { eventsIn, keysOf, pages } from './following.ts'

/** EV: what followers hear. */
export const events: CheckGroup = {
  name: 'Events',
  checks: [
    {
      rule: 'EV1',
      title: 'each change comes as an event with the whole record, REMOVE where it is gone',
      async run(trial) {
        const [writer, follower] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        follower.send({ type: 'SYNC_INIT', mapName, cursor: null })
        await pages(follower)
        await trial.write(writer, trial.put(mapName, 'k', { a: 1 }))
        await follower.settle()
        const patch = { value: { b: 2 }, timestamp: trial.stamp() }
        await trial.write(writer, trial.op(mapName, 'k', { opType: 'PATCH', record: patch }))
        await follower.settle()
        await trial.write(
          writer,
          trial.op(mapName, 'k', { opType: 'REMOVE', record: { value: null, timestamp: trial.stamp() } }),
        )
        await follower.settle()
        expectShape(
          eventsIn(follower),
          [
            { key: 'k', eventType: 'PUT', record: { value: { a: 1 } } },
            {
              key: 'k',
              eventType: 'PUT',
              record: { value: { a: 1, b: 2 }, fields: { b: { stamp: patch.timestamp } } },
            },
            { key: 'k', eventType: 'REMOVE', record: { value: null } },
          ],
          'events with',
        )
      },
    },
    {
      rule: 'EV2',
      title: 'events come in the order of commits, with cursors that resume after them',
      async run(trial) {
        const [writer, follower] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        follower.send({ type: 'SYNC_INIT', mapName, cursor: null })
        await pages(follower)
        for (let i = 0; i < 20; i++) writer.send(trial.put(mapName, `k${i}`, i))
        for (let i = 0; i < 20; i++) await writer.take('OP_ACK')
        await follower.settle()
        const events = eventsIn(follower)
        expectSame(
          events.map(({ key }) => key),
          Array.from({ length: 20 }, (_, i) => `k${i}`),
          'events of',
        )
        expectThat(
          events.every(({ seq }, i) => i === 0 || Number(events[i - 1]?.seq) < seq),
          'rising seq',
          events.map(({ seq }) => seq),
        )
        const { cursor } = events.at(-1) ?? {}
        expectThat(typeof cursor === 'string', 'a cursor', shown(cursor))
        await trial.write(writer, trial.put(mapName, 'last', 1))
        const second = await trial.signedIn()
        second.send({ type: 'SYNC_INIT', mapName, cursor })
        expectSame(
          (await pages(second)).flatMap((page) => keysOf(page['records'] as Vector[])),
          ['last'],
          'from the cursor records of',
        )
      },
    },
    {
      rule: 'EV4',
      title: 'a writer that follows by cursor gets its own commits, after their acknowledgement',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        peer.send({ type: 'SYNC_INIT', mapName, cursor: null })
        await pages(peer)
        peer.send(trial.put(mapName, 'k', 1))
        await peer.settle()
        const order = peer.inbox.map(({ type }) => type)
        expectSame(order, ['OP_ACK', 'SERVER_EVENT'], 'messages')
      },
    },
    {
      rule: 'EV4',
      title: 'who has a live query over a map hears its events, and a writer without a cursor not its own',
      async run(trial) {
        const [writer, reader] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        await reader.ask({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName, query: {} } }, 'QUERY_RESP')
        await writer.ask({ type: 'SYNC_INIT', mapName }, 'SYNC_RESP_ROOT')
        await trial.write(writer, trial.put(mapName, 'k', 1))
        const { payload } = await reader.take('SERVER_EVENT')
        expectShape(payload, { key: 'k', record: { value: 1 } }, 'SERVER_EVENT with')
        await writer.settle()
        expectSame(eventsIn(writer), [], 'events for the writer')
      },
    },
    {
      rule: 'EV4',
      title: 'a write that changes nothing is no event',
      async run(trial) {
        const [writer, follower] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        const old = trial.put(mapName, 'k', 'old')
        const op = trial.put(mapName, 'k', 'new')
        await trial.write(writer, op)
        follower.send({ type: 'SYNC_INIT', mapName, cursor: null })
        await pages(follower)
        await trial.write(writer, op)
        await trial.write(writer, old)
        await follower.settle()
        expectSame(
          eventsIn(follower).filter(({ record }) => record['value'] !== 'new'),
          [],
          'events with another value than "new":',
        )
      },
    },
  ],
}
