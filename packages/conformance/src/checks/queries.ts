import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat, shown } from '../failure.ts'
import type { Trial } from '../trial.ts'
import { vectorsOf, type Vector } from '../vectors.ts'
import type { Payload, Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

function untagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(untagged)
  const { $bytes } = value as { readonly $bytes?: unknown }
  if (typeof $bytes === 'string' && Object.keys(value).length === 1)
    return new Uint8Array(Buffer.from($bytes, 'base64'))
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, untagged(member)]))
}

/** The whole result of a query, and what its last part says. */
async function ask(
  peer: Peer,
  queryId: string,
  mapName: string,
  query: object,
): Promise<Payload & { readonly rows: readonly Vector[] }> {
  peer.send({ type: 'QUERY_SUB', payload: { queryId, mapName, query } })
  const rows: Vector[] = []
  for (;;) {
    const { payload } = await peer.take('QUERY_RESP', (message) => message.payload['queryId'] === queryId)
    rows.push(...(payload['results'] as Vector[]))
    if (payload['more'] !== true) return { ...payload, rows }
  }
}

/** Values that meet conditions or do not, as the vectors say. */
async function matches(
  trial: Trial,
  file: 'where' | 'predicates',
  member: 'where' | 'predicate',
  rules: string,
): Promise<void> {
  const peer = await trial.signedIn()
  const maps = new Map<string, string>()
  const wrong: string[] = []
  const cases = vectorsOf(file).filter((vector) => (vector['rules'] as string).split(' ')[0] === rules)
  for (const [i, vector] of cases.entries()) {
    const text = JSON.stringify(vector['value'])
    let mapName = maps.get(text)
    if (mapName === undefined) {
      mapName = trial.name()
      maps.set(text, mapName)
      await trial.write(peer, trial.put(mapName, 'k', untagged(vector['value'])))
    }
    const { rows } = await ask(peer, `q${i}`, mapName, { [member]: untagged(vector[member]) })
    peer.send({ type: 'QUERY_UNSUB', payload: { queryId: `q${i}` } })
    if ((rows.length === 1) !== vector['matches']) wrong.push(`${JSON.stringify(vector[member])} on ${text}`)
  }
  expectThat(
    wrong.length === 0,
    `${cases.length} conditions to hold or not as the vectors say`,
    `otherwise: ${wrong.join('; ')}`,
  )
}

/** QU, QY: queries. */
export const queries: CheckGroup = {
  name: 'Queries',
  checks: [
    ...(
      [
        ['QU1', 'bad ids of queries'],
        ['QU2', 'bad sorts, limits and cursors'],
      ] as const
    ).map(([rule, what]) => ({
      rule,
      title: `${what} are refused with their code, and the connection survives`,
      run: (trial: Trial) => refusesMessages(trial, rule),
    })),
    ...(
      [
        ['QY1', 'without conditions every value belongs to the result, with some only maps'],
        ['QY2', 'paths reach into nested maps'],
        ['QY3', 'all fields of a where must hold; $and, $or and $not combine'],
        ['QY4', 'a condition is a value or an object of operators'],
        ['QY5', 'equality and order are those of the rules'],
        ['QY6', 'each operator does what it says'],
      ] as const
    ).map(([rule, title]) => ({ rule, title, run: (trial: Trial) => matches(trial, 'where', 'where', rule) })),
    {
      rule: 'QY7',
      title: 'predicates do what they say',
      run: (trial) => matches(trial, 'predicates', 'predicate', 'QY7'),
    },
    {
      rule: 'QY1',
      title: 'conditions that are not known are refused BAD_QUERY, never taken for "nothing matches"',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        for (const { query, errorCode } of vectorsOf('refused-queries')) {
          peer.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName, query: untagged(query) as object } })
          await peer.takeError(errorCode as string, 'QUERY_SUB')
        }
      },
    },
    {
      rule: 'QY9',
      title: 'rows come in the order of sort, then of their keys',
      async run(trial) {
        const peer = await trial.signedIn()
        for (const { name, sort, rows, keys } of vectorsOf('sorts')) {
          const mapName = trial.name()
          for (const { key, value } of rows as Vector[])
            await trial.write(peer, trial.put(mapName, key as string, untagged(value)))
          const found = await ask(peer, trial.name(), mapName, { sort })
          expectSame(
            found.rows.map(({ key }) => key as string),
            keys,
            `for "${name as string}" keys`,
          )
        }
      },
    },
    {
      rule: 'QU1',
      title: 'a result is kept up to date: rows enter, change and leave, until QUERY_UNSUB',
      async run(trial) {
        const [writer, reader] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        await trial.write(writer, trial.put(mapName, 'a', { n: 1 }))
        const { rows } = await ask(reader, 'q', mapName, { where: { n: { $gt: 0 } } })
        expectSame(rows, [{ key: 'a', value: { n: 1 } }], 'rows')
        const after = async (write: object): Promise<readonly Payload[]> => {
          await trial.write(writer, write)
          await reader.settle()
          // Who has a query over a map follows its events too.
          const updates = reader.inbox.splice(0).filter(({ type }) => type === 'QUERY_UPDATE')
          return updates.map(({ payload }) => payload)
        }
        expectShape(
          await after(trial.put(mapName, 'b', { n: 2 })),
          [{ queryId: 'q', key: 'b', value: { n: 2 }, changeType: 'ENTER' }],
          'QUERY_UPDATE with',
        )
        expectShape(
          await after(trial.put(mapName, 'a', { n: 3 })),
          [{ key: 'a', value: { n: 3 }, changeType: 'UPDATE' }],
          'QUERY_UPDATE with',
        )
        expectShape(
          await after(trial.put(mapName, 'a', { n: 0 })),
          [{ key: 'a', value: null, changeType: 'LEAVE' }],
          'QUERY_UPDATE with',
        )
        expectSame(await after(trial.put(mapName, 'c', { n: -1 })), [], 'for what is not in the result')
        reader.send({ type: 'QUERY_UNSUB', payload: { queryId: 'q' } })
        await reader.settle()
        expectSame(await after(trial.put(mapName, 'd', { n: 9 })), [], 'after QUERY_UNSUB')
      },
    },
    {
      rule: 'LI2',
      title: 'a connection has at most 100 live queries, and is told LIMIT_EXCEEDED beyond',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const message = (queryId: string): object => ({ type: 'QUERY_SUB', payload: { queryId, mapName, query: {} } })
        for (let i = 0; i < 100; i++) peer.send(message(`q${i}`))
        for (let i = 0; i < 100; i++) await peer.take('QUERY_RESP')
        peer.send(message('q100'))
        const { payload } = await peer.takeError('LIMIT_EXCEEDED', 'QUERY_SUB')
        expectThat(
          payload['details']?.max === 100 && typeof payload['details'].limit === 'string',
          'details with limit and max',
          payload,
        )
        peer.send({ type: 'QUERY_UNSUB', payload: { queryId: 'q0' } })
        await peer.ask(message('q100'), 'QUERY_RESP')
      },
    },
    {
      rule: 'QU3',
      title: 'a record that is removed leaves, with null',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'a', 1))
        await ask(peer, 'q', mapName, {})
        await trial.write(
          peer,
          trial.op(mapName, 'a', { opType: 'REMOVE', record: { value: null, timestamp: trial.stamp() } }),
        )
        const { payload } = await peer.take('QUERY_UPDATE')
        expectShape(payload, { key: 'a', value: null, changeType: 'LEAVE' }, 'QUERY_UPDATE with')
      },
    },
    {
      rule: 'QU4',
      title: 'version is in the answer and in each update, and rises',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        let { version } = await ask(peer, 'q', mapName, {})
        expectThat(Number.isInteger(version), 'a version', shown(version))
        for (const key of ['a', 'b', 'c']) {
          const result = await trial.write(peer, trial.put(mapName, key, 1))
          const { payload } = await peer.take('QUERY_UPDATE')
          expectThat(Number(payload['version']) > Number(version), `a version above ${String(version)}`, payload)
          expectThat(
            Number(payload['version']) >= Number(result?.['seq']),
            `a version of at least ${String(result?.['seq'])}`,
            payload,
          )
          version = payload['version'] as unknown
        }
      },
    },
    {
      rule: 'QU6',
      title: 'a cursor that was changed, or of another query, is refused INVALID_CURSOR',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        for (const key of ['a', 'b', 'c']) await trial.write(peer, trial.put(mapName, key, { n: 1 }))
        const query = { sort: { n: 'asc' }, limit: 1 }
        const { nextCursor } = await ask(peer, trial.name(), mapName, query)
        const text = nextCursor as string
        const changed = `${text.slice(0, 5)}${text[5] === 'A' ? 'B' : 'A'}${text.slice(6)}`
        for (const other of [
          { ...query, cursor: changed },
          { ...query, cursor: 'not a cursor' },
          { sort: { n: 'desc' }, limit: 1, cursor: text },
          { ...query, where: { n: 1 }, cursor: text },
        ]) {
          peer.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName, query: other } })
          await peer.takeError('INVALID_CURSOR', 'QUERY_SUB')
        }
      },
    },
    {
      rule: 'QU5',
      title: 'with fields, rows have no others, and a change of others is no change',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'a', { n: 1, text: 'x', more: { deep: 1 } }))
        const message = { queryId: 'q', mapName, query: { where: { text: 'x' } }, fields: ['n', 'none'] }
        const { payload } = await peer.ask({ type: 'QUERY_SUB', payload: message }, 'QUERY_RESP')
        expectSame(payload['results'], [{ key: 'a', value: { n: 1 } }], 'rows')
        const patch = async (value: object): Promise<void> => {
          await trial.write(
            peer,
            trial.op(mapName, 'a', { opType: 'PATCH', record: { value, timestamp: trial.stamp() } }),
          )
          await peer.settle()
        }
        await patch({ more: 2 })
        expectSame(
          peer.inbox.filter(({ type }) => type === 'QUERY_UPDATE'),
          [],
          'for another field',
        )
        await patch({ n: 2 })
        const update = await peer.take('QUERY_UPDATE')
        expectShape(update.payload, { key: 'a', value: { n: 2 }, changeType: 'UPDATE' }, 'QUERY_UPDATE with')
      },
    },
    {
      rule: 'QY10',
      title: 'pages follow one another by cursor, without gaps and repetitions, also where a row is inserted',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        for (const [i, key] of ['a', 'b', 'c', 'd', 'e'].entries())
          await trial.write(peer, trial.put(mapName, key, { n: i }))
        const query = { sort: { n: 'desc' }, limit: 2 }
        const first = await ask(peer, trial.name(), mapName, query)
        expectSame(
          first.rows.map(({ key }) => key as string),
          ['e', 'd'],
          'first keys',
        )
        expectShape(first, { hasMore: true }, 'QUERY_RESP with')
        await trial.write(peer, trial.put(mapName, 'z', { n: 100 }))
        const second = await ask(peer, trial.name(), mapName, { ...query, cursor: first['nextCursor'] as string })
        expectSame(
          second.rows.map(({ key }) => key as string),
          ['c', 'b'],
          'second keys',
        )
        const third = await ask(peer, trial.name(), mapName, { ...query, cursor: second['nextCursor'] as string })
        expectSame(
          third.rows.map(({ key }) => key as string),
          ['a'],
          'third keys',
        )
        expectThat(third['hasMore'] !== true, 'hasMore false', third)
      },
    },
  ],
}
