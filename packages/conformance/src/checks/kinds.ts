import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape } from '../failure.ts'
import { fmix32, fnv1a, formatDigest, nodeOf, type WireRecord } from '../hash.ts'
import type { Stamp, Trial } from '../trial.ts'
import { vectorsOf, type Vector } from '../vectors.ts'
import type { Peer } from '../wire.ts'
import { named, refusesMessages } from './frames.ts'

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

/** The fmix32 of the fmix32 of …, so many times. */
const mixed = (digest: number, times: number): number => (times === 0 ? digest : fmix32(mixed(digest, times - 1)))

/** The cases of OR-maps whose items do not expire meanwhile, each in a map of its own: what is left in it is removed. */
async function eachOrMap(
  trial: Trial,
  peer: Peer,
  look: (mapName: string, vector: Vector) => Promise<void>,
): Promise<void> {
  for (const vector of vectorsOf('or-maps')) {
    const ops = vector['ops'] as Vector[]
    if (ops.some(({ ttlMs }) => ttlMs !== undefined)) continue
    const [mapName, key] = [trial.name(), vector['key'] as string]
    for (const { add: value, tag, remove, millis } of ops) {
      const timestamp = { millis: millis as number, counter: 0, nodeId: 'a' }
      const op =
        remove === undefined
          ? { mapName, key, opType: 'OR_ADD', orRecord: { value: value as unknown, timestamp, tag: tag as string } }
          : { mapName, key, opType: 'OR_REMOVE', orTag: remove as string, timestamp }
      await trial.write(peer, { type: 'CLIENT_OP', payload: op })
    }
    await named(vector['name'] as string, () => look(mapName, vector))
    const tags = new Set(ops.map(({ tag, remove }) => (tag ?? remove) as string))
    for (const tag of tags) await trial.write(peer, removal(mapName, key, tag))
  }
}

/** KD, OM: kinds of maps, and OR-maps. */
export const kinds: CheckGroup = {
  name: 'Kinds of maps, OR-maps',
  checks: [
    ...(
      [
        ['OM1', 'bad tags'],
        ['OM2', 'bad values and stamps of OR_ADD'],
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
      rule: 'KD5',
      title: 'a query sees the values that a key of an OR-map shows, and the rows of a counter by node',
      async run(trial) {
        const peer = await trial.signedIn()
        await eachOrMap(trial, peer, async (mapName, { key, shows }) => {
          const values = shows as unknown[]
          expectSame(
            await shownBy(trial, peer, mapName, key as string),
            values.length === 0 ? undefined : values,
            'values',
          )
        })
        const [counter, node] = [`counter:${trial.name()}`, trial.name()]
        await trial.write(peer, trial.put(counter, node, { p: 2, n: 1 }))
        trial.forget(counter)
        expectSame(await shownBy(trial, peer, counter, node), { p: 2, n: 1 }, 'the row')
      },
    },
    {
      rule: 'OM7',
      title: 'existing clients walk the trie over keys, whose digests are those of the vectors',
      async run(trial) {
        const peer = await trial.signedIn()
        await eachOrMap(trial, peer, async (mapName, { key, digest, ops }) => {
          const path = fnv1a(key as string)
            .toString(16)
            .padStart(8, '0')
          const root = await peer.ask(
            { type: 'ORMAP_SYNC_INIT', mapName, rootHash: 0, bucketHashes: {} },
            'ORMAP_SYNC_RESP_ROOT',
          )
          // A leaf, two nodes and the root, each with nothing beside it.
          const sums = digest === null ? [0] : [0, 1, 2, 3].map((depth) => mixed(digest as number, 4 - depth))
          expectSame(root.payload['rootHash'], sums[0], 'rootHash')
          for (let depth = 0; depth < 3 && digest !== null; depth++) {
            const asked = { mapName, path: path.slice(0, depth) }
            const { payload } = await peer.ask(
              { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: asked },
              'ORMAP_SYNC_RESP_BUCKETS',
            )
            expectShape(payload, { ...asked, buckets: { [path.charAt(depth)]: sums[depth + 1] } }, 'buckets')
          }
          const asked = { mapName, path: path.slice(0, 3) }
          const { payload } = await peer.ask(
            { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: asked },
            'ORMAP_SYNC_RESP_LEAF',
          )
          const entries = payload['entries'] as { readonly records: Vector[]; readonly tombstones: string[] }[]
          const gone = new Set(
            (ops as Vector[]).flatMap(({ remove }) => (remove === undefined ? [] : [remove as string])),
          )
          const kept = new Set(
            (ops as Vector[]).flatMap(({ tag }) =>
              tag === undefined || gone.has(tag as string) ? [] : [tag as string],
            ),
          )
          const tags = entries.flatMap(({ records }) => records.map(({ tag }) => tag as string))
          expectSame(tags.toSorted(), [...kept].toSorted(), 'the tags of items')
          expectSame(entries.flatMap(({ tombstones }) => tombstones).toSorted(), [...gone].toSorted(), 'tombstones')
        })
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
  ],
}
