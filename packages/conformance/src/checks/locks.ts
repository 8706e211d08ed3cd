import type { CheckGroup } from '../check.ts'
import { expectShape, expectThat } from '../failure.ts'
import { NO_ROLE, type Trial } from '../trial.ts'
import type { Message, Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

const request = (name: string, requestId: string, members: object = {}): object => ({
  type: 'LOCK_REQUEST',
  payload: { requestId, name, ...members },
})
const release = (name: string, members: object): object => ({ type: 'LOCK_RELEASE', payload: { name, ...members } })

async function grant(peer: Peer, name: string, requestId: string, members: object = {}): Promise<number> {
  const { payload } = await peer.ask(request(name, requestId, members), 'LOCK_GRANTED')
  expectShape(payload, { requestId, name }, 'LOCK_GRANTED with')
  expectThat(Number.isSafeInteger(payload['fencingToken']), 'a fencingToken', payload)
  return payload['fencingToken'] as number
}

const ofRequest =
  (requestId: string) =>
  ({ payload }: Message): boolean =>
    payload['requestId'] === requestId

/** LK: locks. */
export const locks: CheckGroup = {
  name: 'Locks',
  checks: [
    ...(
      [
        ['LK1', 'bad requests'],
        ['LK2', 'leases of no time'],
      ] as const
    ).map(([rule, what]) => ({
      rule,
      title: `${what} are refused with their code, and the connection survives`,
      run: (trial: Trial) => refusesMessages(trial, rule),
    })),
    {
      rule: 'LK2',
      title: 'a lease ends by itself after its time',
      async run(trial) {
        const [holder, waiter] = [await trial.signedIn(), await trial.signedIn()]
        const name = trial.name()
        await grant(holder, name, 'a', { ttl: 150 })
        const startedAt = performance.now()
        await grant(waiter, name, 'b')
        const waited = performance.now() - startedAt
        expectThat(waited > 75, 'a grant after 150 ms', `after ${Math.round(waited)} ms`)
      },
    },
    {
      rule: 'LK10',
      title: 'a lock takes the right to PUT it, and so does a write under its fence',
      async run(trial) {
        const peer = await trial.signedInAs({ roles: [NO_ROLE] })
        const { payload } = await peer.ask(request(trial.name(), 'a'), 'LOCK_RELEASED')
        expectShape(payload, { requestId: 'a', success: false, errorCode: 'FORBIDDEN' }, 'LOCK_RELEASED with')
      },
    },
    {
      rule: 'LK10',
      title: 'a connection holds or waits for at most 100 locks, and is told LIMIT_EXCEEDED beyond',
      async run(trial) {
        const peer = await trial.signedIn()
        const name = trial.name()
        for (let i = 0; i < 100; i++) await grant(peer, `${name}-${i}`, `r${i}`, { ttl: 60_000 })
        const { payload } = await peer.ask(request(`${name}-100`, 'more'), 'LOCK_RELEASED')
        expectShape(payload, { requestId: 'more', success: false, errorCode: 'LIMIT_EXCEEDED' }, 'LOCK_RELEASED with')
        expectShape(payload['details'], { max: 100 }, 'details with')
      },
    },
    {
      rule: 'LK3',
      title: 'requests wait and are granted in the order in which they came',
      async run(trial) {
        const [holder, second, third] = [await trial.signedIn(), await trial.signedIn(), await trial.signedIn()]
        const name = trial.name()
        const fencingToken = await grant(holder, name, 'a')
        second.send(request(name, 'b'))
        await second.settle()
        third.send(request(name, 'c'))
        await third.settle()
        expectThat(second.inbox.length + third.inbox.length === 0, 'no answer while the lock is held', [
          ...second.inbox,
          ...third.inbox,
        ])
        holder.send(release(name, { fencingToken }))
        const { payload } = await second.take('LOCK_GRANTED')
        await third.settle()
        expectThat(third.inbox.length === 0, 'no grant out of turn', third.inbox)
        second.send(release(name, { fencingToken: payload['fencingToken'] as number }))
        await third.take('LOCK_GRANTED')
      },
    },
    {
      rule: 'LK4',
      title: 'the holder extends its lease and keeps its token',
      async run(trial) {
        const peer = await trial.signedIn()
        const name = trial.name()
        const token = await grant(peer, name, 'a')
        const again = await grant(peer, name, 'b')
        expectThat(again === token, `the token ${token}`, String(again))
        peer.send(request(name, 'c', { fencingToken: token + 1_000_000 }))
        const { payload } = await peer.take('LOCK_RELEASED', ofRequest('c'))
        expectShape(payload, { success: false, errorCode: 'STALE_TOKEN' }, 'for another token LOCK_RELEASED with')
      },
    },
    {
      rule: 'LK5',
      title: 'a connection that ends gives back its locks',
      async run(trial) {
        const [holder, waiter] = [await trial.signedIn(), await trial.signedIn()]
        const name = trial.name()
        await grant(holder, name, 'a', { ttl: 60_000 })
        waiter.send(request(name, 'b'))
        await waiter.settle()
        holder.end()
        await waiter.take('LOCK_GRANTED')
      },
    },
    {
      rule: 'LK6',
      title: "another's lock, or one under another token, is not released",
      async run(trial) {
        const [holder, other] = [await trial.signedIn(), await trial.signedIn()]
        const name = trial.name()
        const fencingToken = await grant(holder, name, 'a')
        for (const [peer, token] of [
          [other, fencingToken],
          [holder, fencingToken + 1_000_000],
        ] as const) {
          peer.send(release(name, { requestId: 'r', fencingToken: token }))
          const { payload } = await peer.take('LOCK_RELEASED')
          expectShape(payload, { requestId: 'r', name, success: false, errorCode: 'STALE_TOKEN' }, 'LOCK_RELEASED with')
        }
        const { payload } = await holder.ask(release(name, { requestId: 's', fencingToken }), 'LOCK_RELEASED')
        expectShape(payload, { requestId: 's', name, success: true }, 'LOCK_RELEASED with')
      },
    },
    {
      rule: 'LK7',
      title: 'a request that has waited long enough is refused TIMEOUT',
      async run(trial) {
        const [holder, waiter] = [await trial.signedIn(), await trial.signedIn()]
        const name = trial.name()
        await grant(holder, name, 'a')
        for (const waitMs of [0, 100]) {
          waiter.send(request(name, `w${waitMs}`, { waitMs }))
          const { payload } = await waiter.take('LOCK_RELEASED')
          expectShape(payload, { requestId: `w${waitMs}`, success: false, errorCode: 'TIMEOUT' }, 'LOCK_RELEASED with')
        }
      },
    },
    {
      rule: 'LK8',
      title: 'each grant has a greater token than all before it',
      async run(trial) {
        const name = trial.name()
        let last = 0
        for (let i = 0; i < 5; i++) {
          const peer = await trial.signedIn()
          const fencingToken = await grant(peer, name, 'a')
          expectThat(fencingToken > last, `a token above ${last}`, String(fencingToken))
          last = fencingToken
          if (i % 2 === 0) peer.end()
          else await peer.ask(release(name, { fencingToken }), 'LOCK_RELEASED')
        }
      },
    },
    {
      rule: 'LK9',
      title: 'a write under an older token is refused STALE_TOKEN, one under the latest is taken',
      async run(trial) {
        const [first, second] = [await trial.signedIn(), await trial.signedIn()]
        const [name, mapName] = [trial.name(), trial.name()]
        const old = await grant(first, name, 'a')
        await first.ask(release(name, { fencingToken: old }), 'LOCK_RELEASED')
        const token = await grant(second, name, 'b')
        const stale = await trial.write(first, trial.put(mapName, 'k', 'stale', { fence: { name, token: old } }))
        expectShape(stale, { success: false, errorCode: 'STALE_TOKEN' }, 'a result with')
        const fresh = await trial.write(second, trial.put(mapName, 'k', 'fresh', { fence: { name, token } }))
        expectShape(fresh, { success: true }, 'a result with')
      },
    },
  ],
}
