import type { CheckGroup } from '../check.ts'
import { expectShape, expectThat } from '../failure.ts'
import type { Trial } from '../trial.ts'
import type { Payload, Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

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

/** CN: counters. */
export const counters: CheckGroup = {
  name: 'Counters',
  checks: [
    {
      rule: 'CN1',
      title: 'bad names of counters are refused with their code, and the connection survives',
      run: (trial) => refusesMessages(trial, 'CN1'),
    },
    {
      rule: 'CN3',
      title: 'a node id belongs to the user who first raised its row',
      async run(trial) {
        const [ada, bob] = [await trial.signedInAs({ sub: 'ada' }), await trial.signedInAs({ sub: 'bob' })]
        const [mapName, node] = [`counter:${trial.name()}`, trial.name()]
        const raise = async (peer: Peer, p: number): Promise<Payload> => {
          const record = { value: { p, n: 0 }, timestamp: trial.stamp() }
          return trial.write(peer, { type: 'CLIENT_OP', payload: { mapName, key: node, record } })
        }
        expectShape(await raise(ada, 3), { success: true }, 'for the first user a result with')
        expectShape(await raise(bob, 3), { success: true }, 'for another who raises nothing a result with')
        expectShape(await raise(bob, 4), { success: false, errorCode: 'FORBIDDEN' }, 'for another a result with')
        expectShape(await raise(ada, 5), { success: true }, 'for the first user again a result with')
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
