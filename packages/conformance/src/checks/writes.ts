import type { CheckGroup } from '../check.ts'
import { expectSame, expectShape, expectThat, shown } from '../failure.ts'
import type { Trial } from '../trial.ts'
import type { Peer } from '../wire.ts'
import { refusesMessages } from './frames.ts'

/** The record of a key as the server has it. */
async function recordOf(
  peer: Peer,
  mapName: string,
  key: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const { payload } = await peer.ask({ type: 'SYNC_FETCH', payload: { mapName, keys: [key] } }, 'SYNC_RECORDS')
  return payload['records'][0]?.record as Readonly<Record<string, unknown>> | undefined
}

/** A level that the deployment gives is reached; one that it does not give is refused before anything is applied. */
async function isHonest(trial: Trial, level: string, alsoNamed: readonly string[]): Promise<void> {
  const peer = await trial.signedIn()
  const mapName = trial.name()
  const result = await trial.write(peer, trial.put(mapName, 'k', 1, { writeConcern: level }))
  if (result?.['success'] === true) {
    expectThat(
      [level, ...alsoNamed].includes(result['achievedLevel'] as string),
      `the level ${level}`,
      shown(result['achievedLevel']),
    )
  } else {
    expectShape(result, { success: false, errorCode: 'WRITE_CONCERN_UNAVAILABLE' }, 'a result with')
    expectSame(await recordOf(peer, mapName, 'k'), undefined, 'after the refusal the record')
  }
}

/** OP: writes. */
export const writes: CheckGroup = {
  name: 'Writes',
  checks: [
    ...(
      [
        ['OP1', 'bad ids'],
        ['OP2', 'bad names of maps and keys'],
        ['OP3', 'unknown types of ops'],
        ['OP4', 'ops without a stamp that can be'],
        ['OP5', 'bad values'],
        ['OP7', 'bad PATCHes'],
        ['OP8', 'bad times to live'],
        ['OP9', 'unknown levels and bad timeouts'],
        ['OP10', 'bad batches'],
      ] as const
    ).map(([rule, what]) => ({
      rule,
      title: `${what} are refused with their code, and the connection survives`,
      run: (trial: Trial) => refusesMessages(trial, rule),
    })),
    {
      rule: 'OP1',
      title: 'a result has the id of its op, or one that the server makes',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const id = 'i'.repeat(128)
        expectShape(
          await trial.write(peer, trial.put(mapName, 'a', 1, { id })),
          { opId: id, success: true },
          'a result with',
        )
        const result = await trial.write(peer, trial.put(mapName, 'b', 1, { id: undefined }))
        expectThat(typeof result?.['opId'] === 'string' && result['opId'] !== '', 'an opId', shown(result))
      },
    },
    {
      rule: 'OP5',
      title: 'a value of 262,144 canonical bytes is taken, one of a byte more is TOO_LARGE',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const text = 'x'.repeat(262_144 - 5)
        expectShape(await trial.write(peer, trial.put(mapName, 'k', text)), { success: true }, 'a result with')
        expectShape(
          await trial.write(peer, trial.put(mapName, 'l', `${text}x`)),
          { success: false, errorCode: 'TOO_LARGE' },
          'a result with',
        )
      },
    },
    {
      rule: 'OP5',
      title: 'a value of 32 levels is taken',
      async run(trial) {
        const peer = await trial.signedIn()
        const value: unknown = JSON.parse(`${'['.repeat(32)}${']'.repeat(32)}`)
        expectShape(await trial.write(peer, trial.put(trial.name(), 'k', value)), { success: true }, 'a result with')
      },
    },
    {
      rule: 'OP6',
      title: 'a PUT of null removes, as REMOVE does',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        for (const [key, opType] of [
          ['a', 'PUT'],
          ['b', 'REMOVE'],
        ] as const) {
          await trial.write(peer, trial.put(mapName, key, 1))
          await trial.write(peer, trial.op(mapName, key, { opType, record: { value: null, timestamp: trial.stamp() } }))
          expectShape(await recordOf(peer, mapName, key), { value: null }, `after ${opType} of null the record`)
        }
      },
    },
    {
      rule: 'OP7',
      title: 'a PATCH sets and unsets its fields and leaves the others',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'k', { a: 1, b: 2, c: 3 }))
        const record = { value: { b: 9 }, timestamp: trial.stamp(), unset: ['c'] }
        expectShape(
          await trial.write(peer, trial.op(mapName, 'k', { opType: 'PATCH', record })),
          { success: true },
          'a result with',
        )
        expectSame((await recordOf(peer, mapName, 'k'))?.['value'], { a: 1, b: 9 }, 'the value')
      },
    },
    {
      rule: 'OP7',
      title: 'a PATCH of a key that the server never had is refused NOT_FOUND',
      async run(trial) {
        const peer = await trial.signedIn()
        const record = { value: { b: 9 }, timestamp: trial.stamp() }
        const result = await trial.write(peer, trial.op(trial.name(), 'k', { opType: 'PATCH', record }))
        expectShape(result, { success: false, errorCode: 'NOT_FOUND' }, 'a result with')
      },
    },
    {
      rule: 'RT1',
      title: 'a record whose time to live has passed is not read any more',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.op(mapName, 'k', { record: { value: 1, timestamp: trial.stamp(), ttlMs: 150 } }))
        const rows = async (): Promise<unknown> => {
          const queryId = trial.name()
          const { payload } = await peer.ask(
            { type: 'QUERY_SUB', payload: { queryId, mapName, query: {} } },
            'QUERY_RESP',
          )
          return payload['results']
        }
        expectSame(await rows(), [{ key: 'k', value: 1 }], 'at once the rows')
        await new Promise((resolve) => setTimeout(resolve, 250))
        expectSame(await rows(), [], 'after 250 ms the rows')
      },
    },
    {
      rule: 'OP9',
      title: 'MEMORY and APPLIED are acknowledged at their level, MEMORY where none is named',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        for (const [asked, named] of [
          ['MEMORY', 'MEMORY'],
          ['APPLIED', 'APPLIED'],
          [undefined, 'MEMORY'],
        ] as const) {
          const result = await trial.write(peer, trial.put(mapName, 'k', 1, { writeConcern: asked }))
          expectShape(result, { success: true, achievedLevel: named }, `for ${asked ?? 'no level'} a result with`)
        }
      },
    },
    {
      rule: 'OP9',
      title: 'PERSISTED is reached, or refused before anything is applied',
      run: (trial) => isHonest(trial, 'PERSISTED', []),
    },
    {
      rule: 'OP9',
      title: 'REPLICATED is reached, or refused before anything is applied',
      run: (trial) => isHonest(trial, 'REPLICATED', ['PERSISTED']),
    },
    {
      rule: 'OP10',
      title: 'a batch of 1,000 ops is taken, one of 1,001 is TOO_LARGE',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const ops = Array.from({ length: 1_001 }, (_, i) => ({
          id: `op-${i}`,
          mapName,
          key: `k${i}`,
          record: { value: i, timestamp: trial.stamp() },
        }))
        trial.willRemove(
          mapName,
          ops.map(({ key }) => key),
        )
        const { payload } = await peer.ask({ type: 'OP_BATCH', payload: { ops: ops.slice(0, 1_000) } }, 'OP_ACK')
        expectThat(payload['results'].length === 1_000, '1,000 results', shown(payload['results'].length))
        peer.send({ type: 'OP_BATCH', payload: { ops } })
        await peer.takeError('TOO_LARGE', 'OP_BATCH')
      },
    },
    {
      rule: 'OP10',
      title: 'a faulty op of a batch sinks no other',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        trial.willRemove(mapName, ['a', 'c'])
        const op = (id: string, members: object = {}): object => ({
          id,
          mapName,
          key: id,
          record: { value: id, timestamp: trial.stamp() },
          ...members,
        })
        const ops = [op('a'), op('b', { record: { value: 1, timestamp: 'now' } }), op('c')]
        const { payload } = await peer.ask({ type: 'OP_BATCH', payload: { ops } }, 'OP_ACK')
        expectShape(
          payload['results'],
          [
            { opId: 'a', success: true },
            { opId: 'b', success: false, errorCode: 'VALIDATION_ERROR' },
            { opId: 'c', success: true },
          ],
          'results with',
        )
        expectShape(await recordOf(peer, mapName, 'c'), { value: 'c' }, 'the record')
      },
    },
    {
      rule: 'OP11',
      title: 'one OP_ACK answers a batch: lastId, and a result for each op in order, with its seq',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const ids = ['5', '3', '4']
        trial.willRemove(mapName, ids)
        const ops = ids.map((id) => ({ id, mapName, key: id, record: { value: id, timestamp: trial.stamp() } }))
        const { payload } = await peer.ask({ type: 'OP_BATCH', payload: { ops } }, 'OP_ACK')
        expectShape(payload, { lastId: '4', results: ids.map((opId) => ({ opId, success: true })) }, 'an OP_ACK with')
        expectThat(
          payload['results'].every(({ seq }: { seq: unknown }) => Number.isInteger(seq)),
          'a seq in each result',
          payload,
        )
        await peer.settle()
        expectThat(
          peer.inbox.every(({ type }) => type !== 'OP_ACK'),
          'one OP_ACK',
          peer.inbox,
        )
      },
    },
    {
      rule: 'OP11',
      title: 'FIRE_AND_FORGET is applied and not answered, also inside a batch',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        peer.send(trial.put(mapName, 'a', 1, { writeConcern: 'FIRE_AND_FORGET' }))
        await peer.settle()
        expectSame(peer.inbox, [], 'no answer, but')
        expectShape(await recordOf(peer, mapName, 'a'), { value: 1 }, 'the record')
        trial.willRemove(mapName, ['b', 'c'])
        const op = (id: string, writeConcern: string): object => ({
          id,
          mapName,
          key: id,
          record: { value: 1, timestamp: trial.stamp() },
          writeConcern,
        })
        const ops = [op('b', 'FIRE_AND_FORGET'), op('c', 'APPLIED')]
        const { payload } = await peer.ask({ type: 'OP_BATCH', payload: { ops } }, 'OP_ACK')
        expectShape(payload['results'], [{ opId: 'c', success: true }], 'results with')
      },
    },
    {
      rule: 'OP11',
      title: 'a write that has lost to a newer one says superseded',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const old = trial.put(mapName, 'k', 'old')
        const first = await trial.write(peer, trial.put(mapName, 'k', 'new'))
        const result = await trial.write(peer, old)
        expectShape(result, { success: true, superseded: true, seq: first?.['seq'] }, 'a result with')
        expectShape(await recordOf(peer, mapName, 'k'), { value: 'new' }, 'the record')
      },
    },
    {
      rule: 'OP11',
      title: 'an op that is sent again is answered again and changes nothing',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const op = trial.put(mapName, 'k', 1)
        const first = await trial.write(peer, op)
        const before = await recordOf(peer, mapName, 'k')
        expectShape(await trial.write(peer, op), { success: true, seq: first?.['seq'] }, 'a result with')
        expectSame(await recordOf(peer, mapName, 'k'), before, 'the record')
      },
    },
    {
      rule: 'OP13',
      title: 'after APPLIED every later read has the write',
      async run(trial) {
        const [writer, reader] = [await trial.signedIn(), await trial.signedIn()]
        const mapName = trial.name()
        for (let i = 0; i < 20; i++) {
          await trial.write(writer, trial.put(mapName, 'k', i, { writeConcern: 'APPLIED' }))
          expectShape(await recordOf(reader, mapName, 'k'), { value: i }, 'the record')
        }
      },
    },
    {
      rule: 'OP14',
      title: 'replies come as they are complete, and lastId never passes an op that is not answered',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const levels = ['APPLIED', 'PERSISTED', 'APPLIED', 'MEMORY', 'PERSISTED', 'APPLIED']
        for (const [i, writeConcern] of levels.entries())
          peer.send(trial.put(mapName, `${i}`, i, { writeConcern, id: `${i}` }))
        const answered = new Set<string>()
        for (let i = 0; i < levels.length; i++) {
          const { payload } = await peer.take('OP_ACK')
          for (const { opId } of payload['results'] as { readonly opId: string }[]) answered.add(opId)
          const lastId = Number(payload['lastId'])
          const missing = Array.from({ length: lastId + 1 }, (_, id) => `${id}`).filter((id) => !answered.has(id))
          expectThat(
            missing.length === 0,
            `the answers to all ops up to lastId ${lastId}`,
            `none yet to ${missing.join(', ')}`,
          )
        }
      },
    },
    {
      rule: 'OP12',
      title: 'an op that is refused for good is told by OP_REJECTED too',
      async run(trial) {
        const peer = await trial.signedIn()
        const result = await trial.write(peer, trial.put(trial.name(), 'k', 1, { record: { value: 1, timestamp: 5 } }))
        expectShape(result, { success: false, errorCode: 'VALIDATION_ERROR' }, 'a result with')
        const { payload } = await peer.take('OP_REJECTED')
        expectShape(payload, { opId: 'op-k', code: 400, errorCode: 'VALIDATION_ERROR' }, 'OP_REJECTED with')
      },
    },
    {
      rule: 'OP15',
      title: 'a stamp of the future is refused CLOCK_SKEW with the time of the server, and moves no clock',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const record = { value: 1, timestamp: trial.stamp(3_600_000) }
        const result = await trial.write(peer, trial.op(mapName, 'k', { record }))
        expectShape(result, { success: false, errorCode: 'CLOCK_SKEW' }, 'a result with')
        const serverTime = result?.['details']?.serverTime as unknown
        expectThat(Math.abs(Number(serverTime) - trial.now()) < 5_000, 'details.serverTime', shown(result?.['details']))
        await peer.settle()
        expectThat(
          peer.inbox.every(({ type }) => type !== 'OP_REJECTED'),
          'no OP_REJECTED, since it may be sent again',
          peer.inbox,
        )
        const { serverTime: after } = await peer.ask({ type: 'PING', timestamp: 1 }, 'PONG')
        expectThat(Math.abs(Number(after) - trial.now()) < 5_000, 'the clock where it was', shown(after))
        expectShape(
          await trial.write(peer, trial.put(mapName, 'k', 2)),
          { success: true },
          'with a stamp of now a result with',
        )
      },
    },
    {
      rule: 'HC6',
      title: 'a stamp of long ago is ordinary',
      async run(trial) {
        const peer = await trial.signedIn()
        const record = { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'old' } }
        expectShape(
          await trial.write(peer, trial.op(trial.name(), 'k', { record })),
          { success: true },
          'a result with',
        )
      },
    },
  ],
}
