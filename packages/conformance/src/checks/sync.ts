import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat, shown } from '../failure.ts'
import { fnv1a, formatDigest, lanesOf, nodeOf, type WireRecord } from '../hash.ts'
import type { Trial } from '../trial.ts'
import type { Vector } from '../vectors.ts'
import { eventsIn, fill, keysOf, pages } from './following.ts'
import { refusesMessages } from './frames.ts'

/** SY: following maps. */
export const sync: CheckGroup = {
  name: 'Synchronization',
  checks: [
    ...(
      [
        ['SY1', 'bad cursors and missing maps'],
        ['SY2', 'bad pushes'],
        ['SY5', 'leaves that there are none of'],
        ['SY6', 'bad keys'],
        ['SY7', 'bad paths'],
      ] as const
    ).map(([rule, what]) => ({
      rule,
      title: `${what} are refused with their code, and the connection survives`,
      run: (trial: Trial) => refusesMessages(trial, rule),
    })),
    {
      rule: 'SY1',
      title: 'a map that nobody has written is empty, with a cursor and a digest',
      async run(trial) {
        const peer = await trial.signedIn()
        const { payload } = await peer.ask({ type: 'SYNC_INIT', mapName: trial.name(), cursor: null }, 'SYNC_DIFF')
        expectShape(payload, { records: [], more: false, digest: '0'.repeat(16), rootHash: 0 }, 'SYNC_DIFF with')
        expectThat(typeof payload['cursor'] === 'string', 'a cursor', payload)
      },
    },
    {
      rule: 'SY9',
      title: 'pages come in the order of seq, only the first with lost, only the last with a digest, which is theirs',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await fill(trial, peer, mapName, 1_200)
        peer.send({ type: 'SYNC_INIT', mapName, cursor: null })
        const found = await pages(peer)
        const records = found.flatMap((page) => page['records'] as Vector[])
        expectThat(new Set(keysOf(records)).size === 1_200, '1,200 keys', `${records.length} records`)
        expectThat(
          records.every(({ seq }, i) => i === 0 || Number(records[i - 1]?.['seq']) <= Number(seq)),
          'records in the order of seq',
          keysOf(records).slice(0, 20),
        )
        expectThat(
          found.slice(1).every((page) => page['lost'] === undefined),
          'lost on the first page alone',
          'another',
        )
        expectThat(
          found.every((page, i) => (page['digest'] === undefined) === i < found.length - 1),
          'a digest on the last page alone',
          found.map((page) => page['digest']),
        )
        const held = new Map(records.map(({ key, record }) => [key as string, record as WireRecord]))
        expectSame(found.at(-1)?.['digest'], formatDigest(nodeOf('', held)), 'the digest')
      },
    },
    {
      rule: 'SY9',
      title: 'a cursor brings what has changed since, and nothing else',
      async run(trial) {
        const writer = await trial.signedIn()
        const mapName = trial.name()
        await fill(trial, writer, mapName, 10)
        const first = await trial.signedIn()
        first.send({ type: 'SYNC_INIT', mapName, cursor: null })
        const cursor = (await pages(first)).at(-1)?.['cursor'] as string
        await trial.write(writer, trial.put(mapName, 'k3', 'changed'))
        await trial.write(writer, trial.put(mapName, 'new', 'new'))
        await trial.write(
          writer,
          trial.op(mapName, 'k4', { opType: 'REMOVE', record: { value: null, timestamp: trial.stamp() } }),
        )
        const second = await trial.signedIn()
        second.send({ type: 'SYNC_INIT', mapName, cursor })
        const records = (await pages(second)).flatMap((page) => page['records'] as Vector[])
        expectSame(keysOf(records), ['k3', 'new', 'k4'], 'records of')
        expectShape(records[2]?.['record'], { value: null }, 'for what was removed')
      },
    },
    {
      rule: 'SY10',
      title: 'a cursor that the server cannot resume is answered by SYNC_RESET_REQUIRED',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const { payload } = await peer.ask(
          { type: 'SYNC_INIT', mapName, cursor: 'not a cursor' },
          'SYNC_RESET_REQUIRED',
        )
        expectShape(payload, { mapName }, 'SYNC_RESET_REQUIRED with')
        await peer.ask({ type: 'SYNC_INIT', mapName, cursor: null }, 'SYNC_DIFF')
      },
    },
    {
      rule: 'SY1',
      title: 'after SYNC_STOP no event comes',
      async run(trial) {
        const [writer, follower] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        follower.send({ type: 'SYNC_INIT', mapName, cursor: null })
        await pages(follower)
        follower.send({ type: 'SYNC_STOP', mapName })
        await follower.settle()
        await trial.write(writer, trial.put(mapName, 'k', 1))
        await follower.settle()
        expectSame(follower.inbox, [], 'messages')
      },
    },
    {
      rule: 'SY11',
      title: 'without a cursor the trie is walked from the root to a leaf with its records, and events follow',
      async run(trial) {
        const [writer, reader] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        await trial.write(writer, trial.put(mapName, 'hello', { a: 1 }))
        const path = fnv1a('hello').toString(16).padStart(8, '0')
        const root = await reader.ask({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 }, 'SYNC_RESP_ROOT')
        expectThat(Number.isInteger(root.payload['rootHash']), 'a rootHash', root.payload)
        for (let depth = 0; depth < 3; depth++) {
          const at = path.slice(0, depth)
          const { payload } = await reader.ask(
            { type: 'MERKLE_REQ_BUCKET', payload: { mapName, path: at } },
            'SYNC_RESP_BUCKETS',
          )
          expectSame(Object.keys((payload['buckets'] ?? {}) as object), [path.charAt(depth)], `at "${at}" buckets`)
        }
        const leaf = await reader.ask(
          { type: 'MERKLE_REQ_BUCKET', payload: { mapName, path: path.slice(0, 3) } },
          'SYNC_RESP_LEAF',
        )
        expectShape(leaf.payload['records'], [{ key: 'hello', record: { value: { a: 1 } } }], 'records')
        await trial.write(writer, trial.put(mapName, 'later', 2))
        await reader.settle()
        expectShape(eventsIn(reader), [{ key: 'later' }], 'events')
      },
    },
    {
      rule: 'SY5',
      title: 'SYNC_TRIE has all leaves, SYNC_LEAVES the keys and digests of some, as the records give them',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await fill(trial, peer, mapName, 50)
        const { payload: fetched } = await peer.ask(
          { type: 'SYNC_FETCH', payload: { mapName, keys: Array.from({ length: 50 }, (_, i) => `k${i}`) } },
          'SYNC_RECORDS',
        )
        const held = new Map(
          (fetched['records'] as Vector[]).map(({ key, record }) => [key as string, record as WireRecord]),
        )
        const { payload: trie } = await peer.ask({ type: 'SYNC_TRIE', payload: { mapName } }, 'SYNC_TRIE_RESP')
        const leaves = trie['leaves'] as unknown
        expectThat(leaves instanceof Uint8Array && leaves.length === 32_768, '32,768 bytes of leaves', shown(leaves))
        expectSame(trie['digest'], formatDigest(nodeOf('', held)), 'the digest')
        const leaf = fnv1a('k7') >>> 20
        const path = leaf.toString(16).padStart(3, '0')
        const lanes = nodeOf(path, held)
        const view = Buffer.from(leaves)
        expectSame(
          [view.readUInt32BE(leaf * 8), view.readUInt32BE(leaf * 8 + 4)],
          [lanes.stamps, lanes.state],
          `at leaf ${path} lanes`,
        )
        const { payload } = await peer.ask(
          { type: 'SYNC_LEAVES', payload: { mapName, leaves: [leaf] } },
          'SYNC_LEAVES_RESP',
        )
        const keys = payload['keys'] as string[]
        expectThat(keys.includes('k7'), 'k7 among the keys', keys)
        const digests = Buffer.from(payload['digests'] as Uint8Array)
        for (const [i, key] of keys.entries()) {
          const own = lanesOf(key, held.get(key) as WireRecord)
          expectSame(
            [digests.readUInt32BE(i * 8), digests.readUInt32BE(i * 8 + 4)],
            [own.stamps, own.state],
            `for ${key} lanes`,
          )
        }
      },
    },
    {
      rule: 'SY6',
      title: 'SYNC_FETCH brings records by key and names those that there are none of',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'here', 1))
        const { payload } = await peer.ask(
          { type: 'SYNC_FETCH', payload: { mapName, keys: ['here', 'not here'] } },
          'SYNC_RECORDS',
        )
        expectShape(
          payload,
          { records: [{ key: 'here', record: { value: 1 } }], absent: ['not here'], more: false },
          'SYNC_RECORDS with',
        )
      },
    },
    {
      rule: 'SY2',
      title: 'a push is merged, one that is older than the record changes nothing',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const older = trial.stamp()
        await trial.write(peer, trial.put(mapName, 'k', 'newer'))
        trial.willRemove(mapName, ['l'])
        const records = [
          { key: 'k', record: { value: 'older', timestamp: older } },
          { key: 'l', record: { value: 2, timestamp: older } },
        ]
        const { payload } = await peer.ask({ type: 'SYNC_PUSH', payload: { mapName, records } }, 'SYNC_PUSH_RESP')
        expectShape(payload, { accepted: 2, refused: [] }, 'SYNC_PUSH_RESP with')
        const { payload: found } = await peer.ask(
          { type: 'SYNC_FETCH', payload: { mapName, keys: ['k', 'l'] } },
          'SYNC_RECORDS',
        )
        expectShape(found['records'], [{ record: { value: 'newer' } }, { record: { value: 2 } }], 'records with')
      },
    },
    {
      rule: 'SY3',
      title: 'a pushed record that cannot be read is refused under its key, and sinks no other',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        trial.willRemove(mapName, ['good'])
        const records = [
          { key: 'bad', record: { value: 1, timestamp: 'now' } },
          { key: 'good', record: { value: 1, timestamp: trial.stamp() } },
          { key: 'ahead', record: { value: 1, timestamp: trial.stamp(3_600_000) } },
        ]
        const { payload } = await peer.ask({ type: 'SYNC_PUSH', payload: { mapName, records } }, 'SYNC_PUSH_RESP')
        expectThat(payload['accepted'] === 1, '1 accepted', payload)
        const codes = Object.fromEntries(
          (payload['refused'] as Vector[]).map(({ key, errorCode }) => [key as string, errorCode as unknown]),
        )
        expectSame(codes, { bad: 'VALIDATION_ERROR', ahead: 'CLOCK_SKEW' }, 'refusals')
      },
    },
    {
      rule: 'SY8',
      title: 'base is left out where it is the timestamp, and only there',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'k', { a: 1 }))
        const record = async (): Promise<Vector> => {
          const { payload } = await peer.ask({ type: 'SYNC_FETCH', payload: { mapName, keys: ['k'] } }, 'SYNC_RECORDS')
          return payload['records'][0].record as Vector
        }
        const whole = await record()
        expectThat(whole['base'] === undefined, 'no base', whole)
        await trial.write(
          peer,
          trial.op(mapName, 'k', { opType: 'PATCH', record: { value: { b: 1 }, timestamp: trial.stamp() } }),
        )
        expectSame((await record())['base'], whole['timestamp'], 'after a PATCH base')
      },
    },
  ],
}
