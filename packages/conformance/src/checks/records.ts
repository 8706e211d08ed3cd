import type { CheckGroup } from '../check.ts'
import { Failure, expectSame, expectShape, expectThat, shown } from '../failure.ts'
import { formatDigest, nodeOf, type WireRecord } from '../hash.ts'
import type { Trial } from '../trial.ts'
import { vectorsOf, type Vector } from '../vectors.ts'
import type { Peer } from '../wire.ts'

/** What a record says apart from its timestamp, which a server may raise, and its version, which it gives. */
function stateOf({ timestamp, base = timestamp, ...rest }: Vector): Vector {
  return { ...rest, base, version: undefined }
}

/** Tagged bytes of a vector, as the values they stand for. */
function untagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(untagged)
  const { $bytes } = value as { readonly $bytes?: unknown }
  if (typeof $bytes === 'string' && Object.keys(value).length === 1)
    return new Uint8Array(Buffer.from($bytes, 'base64'))
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, untagged(member)]))
}

async function push(trial: Trial, peer: Peer, mapName: string, records: readonly object[]): Promise<void> {
  trial.willRemove(
    mapName,
    records.map((record) => (record as { readonly key: string }).key),
  )
  const { payload } = await peer.ask({ type: 'SYNC_PUSH', payload: { mapName, records } }, 'SYNC_PUSH_RESP')
  expectShape(payload, { accepted: records.length, refused: [] }, 'SYNC_PUSH_RESP with')
}

async function fetchAll(peer: Peer, mapName: string, keys: readonly string[]): Promise<ReadonlyMap<string, Vector>> {
  const { payload } = await peer.ask({ type: 'SYNC_FETCH', payload: { mapName, keys } }, 'SYNC_RECORDS')
  return new Map((payload['records'] as Vector[]).map(({ key, record }) => [key as string, record as Vector]))
}

/** The records of the cases whose first rule begins so, merged one into the other by the server, in either order. */
async function merges(trial: Trial, rule: string): Promise<void> {
  const peer = await trial.signedIn()
  const mapName = trial.name()
  const cases = vectorsOf('merges').filter((vector) => (vector['rules'] as string).split(' ')[0] === rule)
  for (const [i, { name, a, b, merged }] of cases.entries()) {
    for (const [order, [first, second]] of [
      [a, b],
      [b, a],
    ].entries()) {
      const key = `k${i}-${order}`
      await push(trial, peer, mapName, [{ key, record: untagged(first) }])
      await push(trial, peer, mapName, [{ key, record: untagged(second) }])
      const record = (await fetchAll(peer, mapName, [key])).get(key)
      expectSame(stateOf(record ?? {}), stateOf(untagged(merged) as Vector), `for "${name as string}" the record`)
    }
  }
}

/** The map of a case of `tries.json`, and the tree that the server makes of it. */
async function withTrie(
  trial: Trial,
  look: (peer: Peer, mapName: string, vector: Vector) => Promise<void>,
): Promise<void> {
  const peer = await trial.signedIn()
  for (const vector of vectorsOf('tries')) {
    const mapName = trial.name()
    const records = untagged(vector['records']) as { readonly key: string; readonly record: object }[]
    if (records.length > 0) await push(trial, peer, mapName, records)
    await look(peer, mapName, vector)
  }
}

/** LW, MK: what the server keeps of records, and the digests that it makes of them. */
export const records: CheckGroup = {
  name: 'Records and digests',
  checks: [
    ...(
      [
        ['LW4', 'of two whole writes the later one stands'],
        ['LW5', 'of two whole writes with equal stamps the same one stands in either order, and maps are joined'],
        ['LW6', 'of two writes of a field the later one stands, and different fields both stay'],
        ['LW7', 'a whole write drops the field writes that it has overtaken'],
        ['LW8', 'field writes that cannot be seen are kept'],
        ['LW9', 'timestamp decides nothing'],
        ['LW12', 'a record merged with itself is itself'],
      ] as const
    ).map(([rule, title]) => ({ rule, title, run: (trial: Trial) => merges(trial, rule) })),
    {
      rule: 'LW3',
      title: 'writes of one key leave the record that the vectors name',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        for (const [i, { name, ops, record }] of vectorsOf('writes').entries()) {
          const key = `k${i}`
          for (const op of untagged(ops) as Vector[]) {
            const { opType, ...written } = op
            await trial.write(peer, trial.op(mapName, key, { opType, record: written }))
          }
          const found = (await fetchAll(peer, mapName, [key])).get(key)
          const expected = record === null ? undefined : stateOf(untagged(record) as Vector)
          const seen = found === undefined ? undefined : stateOf(found)
          expectSame(seen, expected, `for "${name as string}" the record`)
        }
      },
    },
    {
      rule: 'MK2',
      title: 'rootHash is the sum that existing clients compute',
      run: (trial) =>
        withTrie(trial, async (peer, mapName, { name, rootHash }) => {
          const { payload } = await peer.ask({ type: 'SYNC_INIT', mapName }, 'SYNC_RESP_ROOT')
          expectSame(payload['rootHash'], rootHash, `for "${name as string}" the rootHash`)
        }),
    },
    {
      rule: 'MK4',
      title: 'digest covers values, stamps of fields and times to live',
      run: (trial) =>
        withTrie(trial, async (peer, mapName, { name, digest }) => {
          const { payload } = await peer.ask({ type: 'SYNC_INIT', mapName, cursor: null }, 'SYNC_DIFF')
          expectSame(payload['digest'], digest, `for "${name as string}" the digest`)
        }),
    },
    {
      rule: 'MK5',
      title: 'the nodes of the trie are those of the vectors, below the leaves too',
      run: (trial) =>
        withTrie(trial, async (peer, mapName, { name, nodes }) => {
          for (const { path, buckets, digests } of nodes as Vector[]) {
            peer.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName, path } })
            if (path.length >= 3) {
              const { payload } = await peer.take('SYNC_RESP_LEAF')
              expectThat(Array.isArray(payload['records']), 'records in SYNC_RESP_LEAF', payload)
              continue
            }
            const { payload } = await peer.take('SYNC_RESP_BUCKETS')
            expectShape(payload, { path, buckets, digests }, `for "${name as string}" SYNC_RESP_BUCKETS with`)
          }
        }),
    },
    {
      rule: 'MK4',
      title: 'the digest of what a map sends is the digest that it sends',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const values: readonly unknown[] = [
          { a: 1 },
          'ключ 😀',
          [1, [2], { b: null }],
          Uint8Array.of(1, 2),
          -1.5,
          true,
          { '': {} },
        ]
        for (const [i, value] of values.entries()) await trial.write(peer, trial.put(mapName, `k${i}`, value))
        const record = { value: { b: 2 }, timestamp: trial.stamp(), unset: ['a'] }
        await trial.write(peer, trial.op(mapName, 'k0', { opType: 'PATCH', record }))
        const { payload } = await peer.ask({ type: 'SYNC_INIT', mapName, cursor: null }, 'SYNC_DIFF')
        const held = new Map(
          (payload['records'] as Vector[]).map(({ key, record }) => [key as string, record as WireRecord]),
        )
        expectThat(held.size === values.length, `${values.length} records`, shown(held.size))
        expectSame(payload['digest'], formatDigest(nodeOf('', held)), 'the digest')
      },
    },
    {
      rule: 'SY4',
      title: 'a pushed record is brought into normal form',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const cases = vectorsOf('records')
        for (const { key, name, received, sent } of cases) {
          await push(trial, peer, mapName, [{ key, record: untagged(received) }])
          const record = (await fetchAll(peer, mapName, [key as string])).get(key as string)
          if (record === undefined) throw new Failure(`a record for "${name as string}"`, 'none')
          expectSame(stateOf(record), stateOf(untagged(sent) as Vector), `for "${name as string}" the record`)
        }
      },
    },
  ],
}
