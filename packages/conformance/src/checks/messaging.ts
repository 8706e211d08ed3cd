import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat, shown } from '../failure.ts'
import { fnv1a } from '../hash.ts'
import { NO_ROLE, type Trial } from '../trial.ts'
import type { Vector } from '../vectors.ts'
import type { Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

const join = (room: string, presence: object, members: object = {}): object => ({
  type: 'ROOM_JOIN',
  payload: { room, presence, ...members },
})
/** A name that the rules of topics and rooms allow. */
const plain = (trial: Trial): string => trial.name().replaceAll(/[^\w-]/g, '-')

async function joined(peer: Peer, room: string, presence: object): Promise<string> {
  const { payload } = await peer.ask(join(room, presence), 'ROOM_STATE')
  expectThat(payload['full'] === true, 'a ROOM_STATE that is full', payload)
  const id = payload['self']?.id as unknown
  expectThat(typeof id === 'string', 'an id of its own', payload)
  return id
}

/** Waits until a member is told of, or of its leaving. */
const ofMember =
  (id: string) =>
  ({ payload }: { readonly payload: Vector }): boolean =>
    ((payload['members'] ?? []) as Vector[]).some((member) => member['id'] === id) ||
    ((payload['left'] ?? []) as string[]).includes(id)

/** TO, RO, PM: topics, rooms, and the map of partitions. */
export const messaging: CheckGroup = {
  name: 'Topics, rooms, partitions',
  checks: [
    ...(
      [
        ['TO1', 'bad names of topics'],
        ['RO1', 'bad names of rooms and too much presence'],
      ] as const
    ).map(([rule, what]) => ({
      rule,
      title: `${what} are refused with their code, and the connection survives`,
      run: (trial: Trial) => refusesMessages(trial, rule),
    })),
    {
      rule: 'TO2',
      title: 'what is published comes to the subscribers and not to its publisher, in order',
      async run(trial) {
        const [publisher, subscriber, stranger] = [
          await trial.signedIn(),
          await trial.signedIn(),
          await trial.signedIn(),
        ]
        const topic = plain(trial)
        for (const peer of [publisher, subscriber]) {
          peer.send({ type: 'TOPIC_SUB', payload: { topic } })
          await peer.settle()
        }
        for (let n = 0; n < 20; n++) publisher.send({ type: 'TOPIC_PUB', payload: { topic, data: { n } } })
        await publisher.settle()
        await subscriber.settle()
        const messages = subscriber.inbox.filter(({ type }) => type === 'TOPIC_MESSAGE').map(({ payload }) => payload)
        expectSame(
          messages.map(({ data }) => data as unknown),
          Array.from({ length: 20 }, (_, n) => ({ n })),
          'messages with',
        )
        const [first] = messages
        expectThat(
          new Set(messages.map(({ publisherId }) => publisherId as unknown)).size === 1 &&
            typeof first?.['publisherId'] === 'string',
          'one publisherId',
          first,
        )
        expectThat(Math.abs(Number(first?.['timestamp']) - trial.now()) < 5_000, 'the time of the server', first)
        expectSame(
          [...publisher.inbox, ...stranger.inbox].filter(({ type }) => type === 'TOPIC_MESSAGE'),
          [],
          'for others',
        )
        subscriber.inbox.length = 0
        subscriber.send({ type: 'TOPIC_UNSUB', payload: { topic } })
        await subscriber.settle()
        publisher.send({ type: 'TOPIC_PUB', payload: { topic, data: 1 } })
        await publisher.settle()
        await subscriber.settle()
        expectSame(subscriber.inbox, [], 'after TOPIC_UNSUB')
      },
    },
    {
      rule: 'TO1',
      title: 'a connection has at most 100 topics, and is told LIMIT_EXCEEDED beyond',
      async run(trial) {
        const peer = await trial.signedIn()
        const topic = plain(trial)
        for (let i = 0; i < 100; i++) peer.send({ type: 'TOPIC_SUB', payload: { topic: `${topic}/${i}` } })
        await peer.settle()
        expectSame(peer.inbox, [], 'for 100 topics')
        peer.send({ type: 'TOPIC_SUB', payload: { topic: `${topic}/0` } })
        peer.send({ type: 'TOPIC_SUB', payload: { topic: `${topic}/100` } })
        const { payload } = await peer.takeError('LIMIT_EXCEEDED', 'TOPIC_SUB')
        expectShape(payload['details'], { topic: `${topic}/100` }, 'details')
      },
    },
    {
      rule: 'TO4',
      title: 'names that begin with room: are those of topics of a room',
      async run(trial) {
        const topic = plain(trial)
        const peer = await trial.signedIn()
        for (const name of [`room:${topic}`, `room:${topic}:`, 'room:']) {
          peer.send({ type: 'TOPIC_SUB', payload: { topic: name } })
          await peer.takeError('BAD_KEY', 'TOPIC_SUB')
        }
      },
    },
    {
      rule: 'TO4',
      title: 'subscribing and publishing take the right to do so',
      async run(trial) {
        const topic = plain(trial)
        const nobody = await trial.signedInAs({ roles: [NO_ROLE] })
        for (const [type, members] of [
          ['TOPIC_SUB', {}],
          ['TOPIC_PUB', { data: 1 }],
        ] as const) {
          nobody.send({ type, payload: { topic, ...members } })
          const { payload } = await nobody.takeError('FORBIDDEN', type)
          expectShape(payload['details'], { topic }, 'details with')
        }
      },
    },
    {
      rule: 'RO3',
      title: 'a ROOM_STATE that is full names all members, later ones those that change or leave',
      async run(trial) {
        const [first, second, third] = [await trial.signedIn(), await trial.signedIn(), await trial.signedIn()]
        const room = plain(trial)
        const a = await joined(first, room, { n: 1 })
        const b = await joined(second, room, { n: 2 })
        const { payload } = await third.ask(join(room, { n: 3 }), 'ROOM_STATE')
        const c = payload['self']?.id as string
        const idsIn = (members: unknown): readonly string[] =>
          (members as Vector[]).map(({ id }) => id as string).toSorted()
        expectSame(idsIn(payload['members']), [a, b, c].toSorted(), 'members of a full state')
        second.send({ type: 'ROOM_UPDATE', payload: { room, presence: { n: 9 } } })
        const own = await second.take('ROOM_STATE', ({ payload: { members = [] } }) =>
          (members as Vector[]).some(({ id, presence }) => id === b && presence.n === 9),
        )
        expectThat(own.payload['full'] !== true, 'a change, which also its maker is told of', own.payload)
        second.send({ type: 'ROOM_LEAVE', payload: { room } })
        const left = await third.take('ROOM_STATE', ({ payload: { left = [] } }) => (left as string[]).includes(b))
        expectThat(left.payload['full'] !== true, 'a change', left.payload)
      },
    },
    {
      rule: 'RO5',
      title: 'who comes back with resume is the same member, and nobody else is',
      async run(trial) {
        const [stays, before] = [await trial.signedIn(), await trial.signedIn()]
        const room = plain(trial)
        await joined(stays, room, {})
        const { payload } = await before.ask(join(room, { n: 1 }), 'ROOM_STATE')
        const { id, resume } = payload['self'] as { readonly id: string; readonly resume: string }
        before.end()
        const after = await trial.signedIn()
        const again = await after.ask(join(room, { n: 2 }, { resume }), 'ROOM_STATE')
        expectThat(again.payload['self']?.id === id, `the id ${id}`, again.payload['self'])
        const stranger = await trial.signedIn()
        const other = await stranger.ask(join(room, {}, { resume: 'made up' }), 'ROOM_STATE')
        expectThat(other.payload['self']?.id !== id, 'another id for whoever makes it up', other.payload['self'])
      },
    },
    {
      rule: 'RO2',
      title: 'who joins is told who is there, and those who are there of who joins',
      async run(trial) {
        const [first, second] = [await trial.signedIn(), await trial.signedIn()]
        const room = plain(trial)
        const id = await joined(first, room, { name: 'Ada' })
        const { payload } = await second.ask(join(room, { name: 'Bob' }), 'ROOM_STATE')
        const members = payload['members'] as Vector[]
        expectShape(
          members.find((member) => member['id'] === id),
          { presence: { name: 'Ada' }, state: 'active' },
          'a member with',
        )
        const other = payload['self']?.id as string
        const told = await first.take('ROOM_STATE', ofMember(other))
        expectShape(
          (told.payload['members'] as Vector[]).find((member) => member['id'] === other),
          { presence: { name: 'Bob' } },
          'a member with',
        )
      },
    },
    {
      rule: 'RO4',
      title: 'ROOM_UPDATE replaces presence',
      async run(trial) {
        const [first, second] = [await trial.signedIn(), await trial.signedIn()]
        const room = plain(trial)
        const id = await joined(first, room, { x: 1, y: 1 })
        await joined(second, room, {})
        first.send({ type: 'ROOM_UPDATE', payload: { room, presence: { x: 2 } } })
        const isUpdate = ({ payload }: { readonly payload: Vector }): boolean =>
          ((payload['members'] ?? []) as Vector[]).some((member) => member['id'] === id && member['presence'].x === 2)
        const { payload } = await second.take('ROOM_STATE', isUpdate)
        expectSame(
          (payload['members'] as Vector[]).find((member) => member['id'] === id)?.['presence'],
          { x: 2 },
          'the presence',
        )
      },
    },
    {
      rule: 'RO6',
      title: 'who leaves, or whose connection ends, is gone',
      async run(trial) {
        const [stays, leaves, ends] = [await trial.signedIn(), await trial.signedIn(), await trial.signedIn()]
        const room = plain(trial)
        await joined(stays, room, {})
        const [left, ended] = [await joined(leaves, room, {}), await joined(ends, room, {})]
        const isGone =
          (id: string) =>
          ({ payload }: { readonly payload: Vector }): boolean =>
            ((payload['left'] ?? []) as string[]).includes(id)
        leaves.send({ type: 'ROOM_LEAVE', payload: { room } })
        await stays.take('ROOM_STATE', isGone(left))
        ends.end()
        await stays.take('ROOM_STATE', isGone(ended))
      },
    },
    {
      rule: 'RO7',
      title: 'ROOM_UPDATE of a room that the connection is not in is NOT_FOUND',
      async run(trial) {
        const peer = await trial.signedIn()
        peer.send({ type: 'ROOM_UPDATE', payload: { room: plain(trial), presence: {} } })
        await peer.takeError('NOT_FOUND', 'ROOM_UPDATE')
      },
    },
    {
      rule: 'PM1',
      title: 'PARTITION_MAP_REQUEST is answered, unless the client knows the version',
      async run(trial) {
        const peer = await trial.signedIn()
        const { payload } = await peer.ask({ type: 'PARTITION_MAP_REQUEST', payload: {} }, 'PARTITION_MAP')
        peer.send({ type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: payload['version'] as number } })
        await peer.settle()
        expectSame(peer.inbox, [], 'for the version that it has')
      },
    },
    {
      rule: 'PM2',
      title: 'each of the 271 partitions has an owner among the nodes',
      async run(trial) {
        const peer = await trial.signedIn()
        const { payload } = await peer.ask({ type: 'PARTITION_MAP_REQUEST' }, 'PARTITION_MAP')
        expectSame(payload['partitionCount'], 271, 'partitionCount')
        const nodes = new Set((payload['nodes'] as Vector[]).map(({ nodeId }) => nodeId as string))
        const owners = new Map(
          (payload['partitions'] as Vector[]).map(({ partitionId, ownerNodeId }) => [
            partitionId as number,
            ownerNodeId as string,
          ]),
        )
        expectThat(owners.size === 271, '271 partitions', shown(owners.size))
        for (const owner of owners.values()) expectThat(nodes.has(owner), 'owners among the nodes', owner)
        expectThat(owners.has(fnv1a('user:1') % 271), 'the partition of "user:1"', 'none')
      },
    },
  ],
}
