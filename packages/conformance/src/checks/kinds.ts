import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat } from '../failure.ts'
import { formatDigest, nodeOf, type WireRecord } from '../hash.ts'
import type { Stamp, Trial } from '../trial.ts'
import type { Vector } from '../vectors.ts'
import type { Payload, Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

const textOf = ({ millis, counter, nodeId }: Stamp): string => `${millis}:${counter}:${nodeId}`

/** An OR_ADD under a new tag. */
function add(
  trial: Trial,
  mapName: string,
  key: string,
  value: unknown,
  members: object = {},
): { readonly tag: string; readonly op: object } {
  const timestamp = trial.stamp()
  const tag = textOf(timestamp)
  const orRecord = { value, timestamp, tag, ...members }
  return { tag, op: { type: 'CLIENT_OP', payload: { id: `add-${tag}`, mapName, key, opType: 'OR_ADD', orRecord } } }
}

const removal = (mapName: string, key: string, orTag: string): object => ({
  type: 'CLIENT_OP',
  payload: { id: `remove-${orTag}`, mapName, key, opType: 'OR_REMOVE', orTag },
})

/** The values that a key shows, by a query. */
async function shownBy(trial: Trial, peer: Peer, mapName: string, key: string): Promise<unknown> {
  const queryId = trial.name()
  const { payload } = await peer.ask({ type: 'QUERY_SUB', payload: { queryId, mapName, query: {} } }, 'QUERY_RESP')
  peer.send({ type: 'QUERY_UNSUB', payload: { queryId } })
  return (payload['results'] as Vector[]).find((row) => row['key'] === key)?.['value']
}

/** Two connections that follow a counter, and its name. */
async function counted(trial: Trial): Promise<{ readonly first: Peer; readonly second: Peer; readonly name: string }> {
  const [first, second, name] = [await trial.signedIn(), await trial.signedIn(), trial.name()]
  for (const peer of [first, second]) {
    const { payload } = await peer.ask({ type: 'COUNTER_REQUEST', payload: { name } }, 'COUNTER_RESPONSE')
    expectShape(payload, { name, state: { p: {}, n: {} } }, 'COUNTER_RESPONSE with')
  }
  return { first, second, name }
}

const total = ({ p, n }: Payload): number => {
  const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0)
  return sum(p as Readonly<Record<string, number>>) - sum(n as Readonly<Record<string, number>>)
}

/** KD, OM, CN: OR-maps and counters. */
export const kinds: CheckGroup = {
  name: 'OR-maps and counters',
  checks: [
    ...(
      [
        ['OM1', 'bad tags'],
        ['OM2', 'bad values and stamps of OR_ADD'],
        ['CN1', 'bad names of counters'],
      ] as const
    ).map(([rule, what]) => ({
      rule,
      title: `${what} are refused with their code, and the connection survives`,
      run: (trial: Trial) => refusesMessages(trial, rule),
    })),
    {
      rule: 'KD1',
      title: 'OR-maps and counters are followed, fetched and compared as records',
      async run(trial) {
        const peer = await trial.signedIn()
        const [mapName, name] = [trial.name(), trial.name()]
        const { op, tag } = add(trial, mapName, 'k', 'v')
        await trial.write(peer, op)
        const row = { value: { p: 3, n: 1 }, timestamp: trial.stamp() }
        const counted = { mapName: `counter:${name}`, key: trial.name(), record: row }
        expectShape(
          await trial.write(peer, { type: 'CLIENT_OP', payload: counted }),
          { success: true },
          'a result with',
        )
        for (const [map, kind, key] of [
          [mapName, 'or', `${tag}:k`],
          [counted.mapName, 'pn', counted.key],
        ] as const) {
          const { payload } = await peer.ask({ type: 'SYNC_INIT', mapName: map, cursor: null }, 'SYNC_DIFF')
          const records = payload['records'] as { readonly key: string; readonly record: WireRecord }[]
          expectShape(payload, { kind, records: [{ key }] }, 'SYNC_DIFF with')
          const held = new Map(records.map(({ key, record }) => [key, record]))
          expectSame(payload['digest'], formatDigest(nodeOf('', held)), `of a map of kind ${kind} the digest`)
          const fetched = await peer.ask({ type: 'SYNC_FETCH', payload: { mapName: map, keys: [key] } }, 'SYNC_RECORDS')
          expectShape(fetched.payload['records'], [{ key }], 'records')
        }
        await trial.write(peer, removal(mapName, 'k', tag))
      },
    },
    {
      rule: 'KD2',
      title: 'the first write fixes the kind of a map; ops of another kind are WRONG_MAP_KIND',
      async run(trial) {
        const peer = await trial.signedIn()
        const [lww, or] = [trial.name(), trial.name()]
        expectShape(await trial.write(peer, trial.put(lww, 'k', 1)), { success: true }, 'a result with')
        expectShape(
          await trial.write(peer, add(trial, lww, 'k', 1).op),
          { success: false, errorCode: 'WRONG_MAP_KIND' },
          'for OR_ADD a result with',
        )
        const { op, tag } = add(trial, or, 'k', 1)
        expectShape(await trial.write(peer, op), { success: true }, 'a result with')
        const { payload } = trial.put(or, 'k', 1) as { readonly payload: object }
        trial.forget(or)
        const put = await trial.write(peer, { type: 'CLIENT_OP', payload })
        expectShape(put, { success: false, errorCode: 'WRONG_MAP_KIND' }, 'for PUT a result with')
        await trial.write(peer, removal(or, 'k', tag))
      },
    },
    {
      rule: 'KD3',
      title: 'SYNC_INIT and SYNC_PUSH of another kind than the map has are WRONG_MAP_KIND',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'k', 1))
        peer.send({ type: 'SYNC_INIT', mapName, cursor: null, kind: 'or' })
        await peer.takeError('WRONG_MAP_KIND', 'SYNC_INIT')
        peer.send({ type: 'SYNC_PUSH', payload: { mapName, kind: 'or', records: [] } })
        await peer.takeError('WRONG_MAP_KIND', 'SYNC_PUSH')
        await peer.ask({ type: 'SYNC_INIT', mapName, cursor: null, kind: 'lww' }, 'SYNC_DIFF')
      },
    },
    {
      rule: 'KD4',
      title: 'existing clients follow each kind by its own messages, and others are WRONG_MAP_KIND',
      async run(trial) {
        const peer = await trial.signedIn()
        const [lww, or] = [trial.name(), trial.name()]
        await trial.write(peer, trial.put(lww, 'k', 1))
        const { op, tag } = add(trial, or, 'k', 1)
        await trial.write(peer, op)
        peer.send({ type: 'SYNC_INIT', mapName: or })
        await peer.takeError('WRONG_MAP_KIND', 'SYNC_INIT')
        peer.send({ type: 'ORMAP_SYNC_INIT', mapName: lww, rootHash: 0, bucketHashes: {} })
        await peer.takeError('WRONG_MAP_KIND', 'ORMAP_SYNC_INIT')
        await trial.write(peer, removal(or, 'k', tag))
      },
    },
    {
      rule: 'OM2',
      title: 'a key shows all that was added to it, the same value twice too',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const adds = ['b', 'a', { x: [1] }, 'a'].map((value) => add(trial, mapName, 'k', value))
        for (const { op } of adds) expectShape(await trial.write(peer, op), { success: true }, 'a result with')
        expectSame(await shownBy(trial, peer, mapName, 'k'), ['b', 'a', { x: [1] }, 'a'], 'the values')
        for (const { tag } of adds) await trial.write(peer, removal(mapName, 'k', tag))
        expectSame(await shownBy(trial, peer, mapName, 'k'), undefined, 'after their removal')
      },
    },
    {
      rule: 'OM3',
      title: 'a tag seen before is a repetition with the same value, and refused with another',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const { op, tag } = add(trial, mapName, 'k', 1)
        await trial.write(peer, op)
        expectShape(await trial.write(peer, op), { success: true }, 'again a result with')
        const other = {
          type: 'CLIENT_OP',
          payload: {
            id: 'x',
            mapName,
            key: 'k',
            opType: 'OR_ADD',
            orRecord: { value: 2, timestamp: trial.stamp(), tag },
          },
        }
        expectShape(
          await trial.write(peer, other),
          { success: false, errorCode: 'ALREADY_EXISTS' },
          'with another value a result with',
        )
        await trial.write(peer, removal(mapName, 'k', tag))
        expectShape(await trial.write(peer, op), { success: true, superseded: true }, 'after the removal a result with')
        expectSame(await shownBy(trial, peer, mapName, 'k'), undefined, 'after the removal the value')
      },
    },
    {
      rule: 'OM4',
      title: 'removing one tag leaves what was added under others, and one that is not known yet stays removed',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const [first, second, early] = [1, 2, 3].map((value) => add(trial, mapName, 'k', value))
        await trial.write(peer, first?.op ?? {})
        await trial.write(peer, second?.op ?? {})
        await trial.write(peer, removal(mapName, 'k', first?.tag ?? ''))
        expectShape(
          await trial.write(peer, removal(mapName, 'k', early?.tag ?? '')),
          { success: true },
          'for a tag that is not known a result with',
        )
        await trial.write(peer, early?.op ?? {})
        expectSame(await shownBy(trial, peer, mapName, 'k'), [2], 'the values')
        await trial.write(peer, removal(mapName, 'k', second?.tag ?? ''))
      },
    },
    {
      rule: 'OM5',
      title: 'who follows by cursor gets the records of items under tag:key',
      async run(trial) {
        const [writer, follower] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        const { op, tag } = add(trial, mapName, 'a:b', 'v')
        await trial.write(writer, op)
        const { payload } = await follower.ask({ type: 'SYNC_INIT', mapName, cursor: null }, 'SYNC_DIFF')
        expectShape(payload, { kind: 'or', records: [{ key: `${tag}:a:b`, record: { value: 'v' } }] }, 'SYNC_DIFF with')
        await trial.write(writer, removal(mapName, 'a:b', tag))
        const event = await follower.take('SERVER_EVENT')
        expectShape(
          event.payload,
          { eventType: 'REMOVE', key: `${tag}:a:b`, record: { value: null } },
          'SERVER_EVENT with',
        )
      },
    },
    {
      rule: 'OM6',
      title: 'who follows without a cursor gets OR_ADD and OR_REMOVE',
      async run(trial) {
        const [writer, follower] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        await follower.ask({ type: 'ORMAP_SYNC_INIT', mapName, rootHash: 0, bucketHashes: {} }, 'ORMAP_SYNC_RESP_ROOT')
        const { op, tag } = add(trial, mapName, 'k', 'v')
        await trial.write(writer, op)
        const added = await follower.take('SERVER_EVENT')
        expectShape(
          added.payload,
          { eventType: 'OR_ADD', key: 'k', orRecord: { value: 'v', tag } },
          'SERVER_EVENT with',
        )
        await trial.write(writer, removal(mapName, 'k', tag))
        const removed = await follower.take('SERVER_EVENT')
        expectShape(removed.payload, { eventType: 'OR_REMOVE', key: 'k', orTag: tag }, 'SERVER_EVENT with')
      },
    },
    {
      rule: 'OM8',
      title: 'ORMAP_DIFF_REQUEST has an entry for each key, of nothing where it is not known',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const [kept, gone] = [add(trial, mapName, 'k', 1), add(trial, mapName, 'k', 2)]
        for (const { op } of [kept, gone]) await trial.write(peer, op)
        await trial.write(peer, removal(mapName, 'k', gone.tag))
        const { payload } = await peer.ask(
          { type: 'ORMAP_DIFF_REQUEST', payload: { mapName, keys: ['k', 'none'] } },
          'ORMAP_DIFF_RESPONSE',
        )
        expectShape(
          payload['entries'],
          [
            { key: 'k', records: [{ value: 1, tag: kept.tag }], tombstones: [gone.tag] },
            { key: 'none', records: [], tombstones: [] },
          ],
          'entries',
        )
        await trial.write(peer, removal(mapName, 'k', kept.tag))
      },
    },
    {
      rule: 'OM9',
      title: 'ORMAP_PUSH_DIFF merges items and removals',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const { op, tag } = add(trial, mapName, 'k', 1)
        await trial.write(peer, op)
        const timestamp = trial.stamp()
        const pushed = { value: 2, timestamp, tag: textOf(timestamp) }
        peer.send({
          type: 'ORMAP_PUSH_DIFF',
          payload: { mapName, entries: [{ key: 'k', records: [pushed], tombstones: [tag] }] },
        })
        await peer.settle()
        expectSame(await shownBy(trial, peer, mapName, 'k'), [2], 'the values')
        await trial.write(peer, removal(mapName, 'k', pushed.tag))
      },
    },
    {
      rule: 'CN4',
      title: 'a counter has its state in both names, and what was counted before',
      async run(trial) {
        const { first, second, name } = await counted(trial)
        const node = trial.name()
        await first.ask(
          { type: 'COUNTER_SYNC', payload: { name, state: { p: { [node]: 5 }, n: { [node]: 2 } } } },
          'COUNTER_UPDATE',
        )
        await second.take('COUNTER_UPDATE')
        const third = await trial.signedIn()
        const { payload } = await third.ask({ type: 'COUNTER_REQUEST', payload: { name } }, 'COUNTER_RESPONSE')
        const counts = { p: { [node]: 5 }, n: { [node]: 2 } }
        expectShape(payload['state'], { ...counts, positive: counts.p, negative: counts.n }, 'the state')
        expectThat(total(payload['state'] as Payload) === 3, 'a value of 3', payload)
      },
    },
    {
      rule: 'CN2',
      title: 'what comes twice, or late, counts once',
      async run(trial) {
        const { first, name } = await counted(trial)
        const node = trial.name()
        const counted5 = { type: 'COUNTER_SYNC', payload: { name, state: { p: { [node]: 5 }, n: {} } } }
        for (let i = 0; i < 3; i++) await first.ask(counted5, 'COUNTER_UPDATE')
        const { payload } = await first.ask(
          { type: 'COUNTER_SYNC', payload: { name, state: { p: { [node]: 3 }, n: {} } } },
          'COUNTER_UPDATE',
        )
        expectShape(payload['state'], { p: { [node]: 5 } }, 'the state')
      },
    },
    {
      rule: 'CN5',
      title: 'a state is taken in either names',
      async run(trial) {
        const { first, name } = await counted(trial)
        const node = trial.name()
        const state = { positive: { [node]: 7 }, negative: { [node]: 1 } }
        const { payload } = await first.ask({ type: 'COUNTER_SYNC', payload: { name, state } }, 'COUNTER_UPDATE')
        expectShape(payload['state'], { p: { [node]: 7 }, n: { [node]: 1 } }, 'the state')
      },
    },
    {
      rule: 'CN6',
      title: 'who follows a counter gets the rows that changed',
      async run(trial) {
        const { first, second, name } = await counted(trial)
        const [a, b] = [trial.name(), trial.name()]
        await first.ask({ type: 'COUNTER_SYNC', payload: { name, state: { p: { [a]: 1 }, n: {} } } }, 'COUNTER_UPDATE')
        const told = await second.take('COUNTER_UPDATE')
        expectShape(told.payload, { name, state: { p: { [a]: 1 } } }, 'COUNTER_UPDATE with')
        await second.ask({ type: 'COUNTER_SYNC', payload: { name, state: { p: { [b]: 2 }, n: {} } } }, 'COUNTER_UPDATE')
        const back = await first.take('COUNTER_UPDATE')
        expectShape(back.payload, { name, state: { p: { [b]: 2 } } }, 'COUNTER_UPDATE with')
      },
    },
    {
      rule: 'CN7',
      title: 'a count that would pass 2^53 − 1 is refused and changes nothing',
      async run(trial) {
        const { first, name } = await counted(trial)
        const [a, b] = [trial.name(), trial.name()]
        const sync = (counts: object): object => ({
          type: 'COUNTER_SYNC',
          payload: { name, state: { p: counts, n: {} } },
        })
        await first.ask(sync({ [a]: Number.MAX_SAFE_INTEGER - 1 }), 'COUNTER_UPDATE')
        first.send(sync({ [b]: 5 }))
        await first.takeError('TOO_LARGE')
        const third = await trial.signedIn()
        const { payload } = await third.ask({ type: 'COUNTER_REQUEST', payload: { name } }, 'COUNTER_RESPONSE')
        expectThat(total(payload['state'] as Payload) === Number.MAX_SAFE_INTEGER - 1, 'the counter unchanged', payload)
      },
    },
  ],
}
