import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat } from '../failure.ts'
import type { Trial } from '../trial.ts'
import type { Vector } from '../vectors.ts'
import type { Message, Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

let requests = 0

/** A page of the journal. */
async function read(trial: Trial, peer: Peer, members: object): Promise<Message> {
  const requestId = `j${++requests}`
  peer.send({ type: 'JOURNAL_READ', requestId, fromSequence: '0', ...members })
  const isAnswer = ({ type, requestId: id, payload }: Message): boolean =>
    type === 'ERROR' ? payload['about'] === 'JOURNAL_READ' : id === requestId
  const answer = await peer.takeAny('JOURNAL_READ_RESPONSE', isAnswer)
  if (answer.payload['errorCode'] === 'NOT_ENABLED') trial.skip('the server keeps no journal')
  return answer
}

/** JO: the journal of changes. */
export const journal: CheckGroup = {
  name: 'Journal',
  checks: [
    {
      rule: 'JO1',
      title: 'bad requests are refused with their code, and the connection survives',
      run: (trial) => refusesMessages(trial, 'JO1'),
    },
    {
      rule: 'JO4',
      title: 'an event says what was there before and what is there now',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'k', { n: 1 }))
        await trial.write(peer, trial.put(mapName, 'k', { n: 2 }))
        await trial.write(
          peer,
          trial.op(mapName, 'k', { opType: 'REMOVE', record: { value: null, timestamp: trial.stamp() } }),
        )
        const { events } = await read(trial, peer, { mapName })
        expectShape(
          events,
          [
            { type: 'PUT', mapName, key: 'k', value: { n: 1 } },
            { type: 'UPDATE', mapName, key: 'k', value: { n: 2 }, previousValue: { n: 1 } },
            { type: 'DELETE', mapName, key: 'k', previousValue: { n: 2 } },
          ],
          'events',
        )
      },
    },
    {
      rule: 'JO2',
      title:
        'pages come by rising sequence, each where the last one ended, and the newest first where that is asked for',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        for (let i = 0; i < 7; i++) await trial.write(peer, trial.put(mapName, `k${i}`, i))
        const keys: string[] = []
        let fromSequence = '0'
        for (let hasMore = true; hasMore;) {
          const page = await read(trial, peer, { mapName, fromSequence, limit: 3 })
          const events = page['events'] as Vector[]
          expectThat(events.length <= 3, 'at most 3 events', events)
          keys.push(...events.map(({ key }) => key as string))
          fromSequence = page['nextSequence'] as string
          hasMore = page['hasMore'] as boolean
        }
        expectSame(
          keys,
          Array.from({ length: 7 }, (_, i) => `k${i}`),
          'events of',
        )
        const newest = await read(trial, peer, { mapName, limit: 2, newestFirst: true })
        expectSame(
          (newest['events'] as Vector[]).map(({ key }) => key as string),
          ['k6', 'k5'],
          'the newest events of',
        )
      },
    },
    {
      rule: 'JO3',
      title: 'a sequence that was never handed out, or of another database, is INVALID_CURSOR',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'k', 1))
        for (const members of [{ fromSequence: '9007199254740991' }, { fromSequence: '1', epoch: 'another' }]) {
          const { payload } = await read(trial, peer, { mapName, ...members })
          expectShape(payload, { errorCode: 'INVALID_CURSOR', details: { reason: 'foreign' } }, 'a refusal with')
        }
      },
    },
    {
      rule: 'JO1',
      title: 'a subscription brings each event of its map, and none of others, until it ends',
      async run(trial) {
        const [writer, reader] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        await read(trial, reader, { mapName })
        reader.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 's', mapName })
        await reader.settle()
        await trial.write(writer, trial.put(trial.name(), 'other', 1))
        await trial.write(writer, trial.put(mapName, 'k', 1))
        const { event } = await reader.take('JOURNAL_EVENT')
        expectShape(event, { type: 'PUT', mapName, key: 'k', value: 1 }, 'JOURNAL_EVENT with')
        reader.send({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 's' })
        await reader.settle()
        await trial.write(writer, trial.put(mapName, 'k', 2))
        await reader.settle()
        expectSame(reader.inbox, [], 'after JOURNAL_UNSUBSCRIBE')
      },
    },
  ],
}
