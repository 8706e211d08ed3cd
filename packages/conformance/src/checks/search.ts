import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat, shown } from '../failure.ts'
import type { Trial } from '../trial.ts'
import type { Vector } from '../vectors.ts'
import type { Message, Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

/** A word that stands in no other record. */
const word = (trial: Trial): string => `w${trial.name().replaceAll(/\W/g, '')}`

async function find(peer: Peer, requestId: string, payload: object): Promise<Message> {
  peer.send({ type: 'SEARCH', payload: { requestId, ...payload } })
  return peer.take('SEARCH_RESP', (message) => message.payload['requestId'] === requestId)
}

/** FT: text search. */
export const search: CheckGroup = {
  name: 'Search',
  checks: [
    {
      rule: 'FT1',
      title: 'bad requests are refused with their code, and the connection survives',
      run: (trial) => refusesMessages(trial, 'FT1'),
    },
    {
      rule: 'FT4',
      title: 'a search of a map that is not searched is answered by NOT_ENABLED',
      async run(trial) {
        const peer = await trial.signedIn()
        const { payload } = await find(peer, 'r', { mapName: trial.name(), query: 'x' })
        expectShape(payload, { results: [], errorCode: 'NOT_ENABLED' }, 'SEARCH_RESP with')
      },
    },
    {
      rule: 'FT3',
      title: 'rows come with their scores and terms, the best first',
      async run(trial) {
        const { map: mapName, field } = trial.searched()
        const peer = await trial.signedIn()
        const rare = word(trial)
        const keys = [trial.name(), trial.name(), trial.name()]
        for (const [i, text] of [
          `${rare} and much else that is long and says little`,
          `${rare} ${rare}`,
          'nothing of it',
        ].entries()) {
          await trial.write(peer, trial.put(mapName, keys[i] ?? '', { [field]: text }))
        }
        const { payload } = await find(peer, 'r', { mapName, query: rare.toUpperCase() })
        const rows = payload['results'] as Vector[]
        expectSame(
          rows.map(({ key }) => key as string),
          [keys[1], keys[0]],
          'keys',
        )
        expectThat(
          Number(rows[0]?.['score']) > Number(rows[1]?.['score']) && Number(rows[1]?.['score']) > 0,
          'falling scores',
          rows,
        )
        expectThat(
          payload['totalCount'] === 2 && rows[0]?.['matchedTerms'].length === 1,
          'totalCount 2 and one term',
          payload,
        )
      },
    },
    {
      rule: 'FT2',
      title:
        'limit, minScore, where, fields and prefix do what they say, and a field that is not searched is BAD_QUERY',
      async run(trial) {
        const { map: mapName, field } = trial.searched()
        const peer = await trial.signedIn()
        const rare = word(trial)
        const [good, better] = [trial.name(), trial.name()]
        await trial.write(peer, trial.put(mapName, good, { [field]: `${rare} and much else that is long`, n: 1 }))
        await trial.write(peer, trial.put(mapName, better, { [field]: `${rare} ${rare}`, n: 2 }))
        let asked = 0
        const found = async (options: object, query = rare): Promise<Vector> =>
          (await find(peer, `o${++asked}`, { mapName, query, options })).payload
        const keysOf = ({ results }: Vector): readonly string[] => (results as Vector[]).map(({ key }) => key as string)
        const all = await found({})
        expectSame(keysOf(all), [better, good], 'keys')
        const [best] = all['results'] as Vector[]
        const first = await found({ limit: 1 })
        expectSame([keysOf(first), first['totalCount']], [[better], 2], 'with limit 1 keys and totalCount')
        expectSame(keysOf(await found({ minScore: best?.['score'] as number })), [better], 'with minScore keys')
        expectSame(keysOf(await found({ where: { n: 1 } })), [good], 'with where keys')
        expectSame(keysOf(await found({ fields: [field] })).toSorted(), [good, better].toSorted(), 'with fields keys')
        expectSame(keysOf(await found({}, rare.slice(0, -1))), [], 'for the beginning of a word keys')
        const typed = await found({ prefix: true }, rare.slice(0, -1))
        expectSame(keysOf(typed).toSorted(), [good, better].toSorted(), 'for a word that is being typed keys')
        expectShape(await found({ fields: [word(trial)] }), { errorCode: 'BAD_QUERY' }, 'for another field')
      },
    },
    {
      rule: 'FT5',
      title: 'a live search tells of rows that enter, change and leave, until SEARCH_UNSUB',
      async run(trial) {
        const { map: mapName, field } = trial.searched()
        const peer = await trial.signedIn()
        const rare = word(trial)
        const key = trial.name()
        peer.send({ type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName, query: rare } })
        const { payload } = await peer.take('SEARCH_RESP')
        expectShape(payload, { requestId: 's', results: [], totalCount: 0 }, 'SEARCH_RESP with')
        const tell = async (text: string, changeType: string): Promise<void> => {
          await trial.write(peer, trial.put(mapName, key, { [field]: text }))
          const update = await peer.take('SEARCH_UPDATE', (message) => message.payload['key'] === key)
          expectThat(update.payload['changeType'] === changeType, changeType, update.payload)
        }
        await tell(rare, 'ENTER')
        await tell(`${rare} once more`, 'UPDATE')
        await tell('nothing', 'LEAVE')
        peer.send({ type: 'SEARCH_UNSUB', payload: { subscriptionId: 's' } })
        await peer.settle()
        await trial.write(peer, trial.put(mapName, key, { [field]: rare }))
        await peer.settle()
        const later = peer.inbox.filter(({ type }) => type === 'SEARCH_UPDATE')
        expectThat(later.length === 0, 'nothing after SEARCH_UNSUB', shown(later))
      },
    },
  ],
}
