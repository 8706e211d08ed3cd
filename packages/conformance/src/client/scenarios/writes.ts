import { Skipped, expectSame, expectThat, isSame, shown } from '../../failure.ts'
import type { Stamp } from '../../trial.ts'
import type { Message } from '../../wire.ts'
import { DRIFT_MS, following, isMade, reads, reconnected, shortly, stampAt, type Scenario } from '../scenario.ts'
import { isWrite, opsIn, resultOf, type SentOp } from '../script.ts'
import { isLater } from '../stamps.ts'

/** What becomes of writes: CR4 to CR7, CR12. */
export const writeScenarios: readonly Scenario[] = [
  {
    rule: 'CR4',
    title: 'a write that is not acknowledged is sent again on the next connection, as it was',
    async run(script, client) {
      script.intercept = isWrite
      const link = await following(script, client)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: { n: 1 } })
      const first = await script.op(link, 'a')
      const again = await script.op(await reconnected(script, link), 'a')
      expectSame(again.record, first.record, 'the record')
      expectSame(again.id, first.id, 'the id')
    },
  },
  {
    rule: 'CR4',
    title: 'writes that were made offline are sent in the order in which they were made',
    async run(script, client) {
      for (const [i, key] of ['a', 'b', 'c'].entries()) await client.tell({ do: 'write', map: 'todos', key, value: i })
      await client.tell({ do: 'connect' })
      const link = await script.connection(0)
      await script.op(link, 'c')
      const ops = script.ops(link)
      expectSame(
        ops.map(({ key }) => key),
        ['a', 'b', 'c'],
        'ops of',
      )
      expectThat(
        ops.every(({ record }, i) => i === 0 || isLater(record.timestamp, ops[i - 1]?.record.timestamp as Stamp)),
        'rising stamps',
        ops.map(({ record }) => record.timestamp),
      )
    },
  },
  {
    rule: 'CR4',
    title: 'a write that is acknowledged and shown by the stream is not sent again',
    async run(script, client) {
      const link = await following(script, client)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      await script.op(link, 'a')
      await shortly()
      const next = await reconnected(script, link)
      await script.message(next, 'SYNC_INIT')
      await shortly()
      expectSame(script.ops(next), [], 'ops')
    },
  },
  {
    rule: 'CR5',
    title: 'its stamps are by the time of the server, not by a clock that is an hour off',
    prepare(script) {
      script.clockOffsetMs = 3_600_000
    },
    async run(script, client) {
      const link = await following(script, client)
      await shortly()
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      const op = await script.op(link, 'a')
      expectThat(isMade(op, script), `a stamp near ${script.now()}`, shown(op.record.timestamp))
    },
  },
  {
    rule: 'CR5',
    title: 'a stamp is later than every stamp that it has received',
    async run(script, client) {
      const link = await following(script, client)
      const received = stampAt(script.now() + 30_000)
      script.put('todos', 'a', { value: 1, timestamp: received })
      await reads(client, 'a', 1)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 2 })
      const { record } = await script.op(link, 'a')
      expectThat(isLater(record.timestamp, received), `a stamp later than ${shown(received)}`, shown(record.timestamp))
    },
  },
  {
    rule: 'CR6',
    title: 'after CLOCK_SKEW it stamps what waits anew, in order, and sends it again under the same ids',
    async run(script, client) {
      script.intercept = (message, link) => {
        if (!isWrite(message)) return false
        const ops = opsIn(message)
        const good = ops.filter((op) => op.record.timestamp.millis - script.now() <= DRIFT_MS)
        const { requestId } = message
        const answer =
          good.length === ops.length
            ? script.acknowledge(ops)
            : script.refuse(ops, 'CLOCK_SKEW', { serverTime: script.now() })
        link.send(requestId === undefined ? answer : { ...answer, requestId })
        return true
      }
      const link = await following(script, client)
      await shortly()
      script.clockOffsetMs = -3_600_000
      for (const key of ['a', 'b', 'c']) await client.tell({ do: 'write', map: 'todos', key, value: 1 })
      await script.until(
        () => script.record('todos', 'c') && script.record('todos', 'a'),
        'all three writes under stamps that the server takes',
      )
      const last = ['a', 'b', 'c'].map((key) => script.ops(link).findLast((op) => op.key === key))
      const first = ['a', 'b', 'c'].map((key) => script.ops(link).find((op) => op.key === key))
      expectSame(
        last.map((op) => op?.id),
        first.map((op) => op?.id),
        'the ids',
      )
      const stamps = last.map((op) => op?.record.timestamp as Stamp)
      expectThat(
        stamps.every((stamp, i) => i === 0 || isLater(stamp, stamps[i - 1] as Stamp)),
        'rising stamps',
        stamps,
      )
    },
  },
  {
    rule: 'CR6',
    title: 'a late answer to what it sent under the former stamp is not that to the op as it is now',
    async run(script, client) {
      const held: (readonly [Message, readonly SentOp[]])[] = []
      script.intercept = (message) => {
        if (isWrite(message)) held.push([message, opsIn(message)])
        return isWrite(message)
      }
      const link = await following(script, client)
      await shortly()
      script.clockOffsetMs = -3_600_000
      const answer = ([{ requestId }, ops]: (typeof held)[number], isRefused: boolean): void => {
        const serverTime = script.now()
        const reply = isRefused ? script.refuse(ops, 'CLOCK_SKEW', { serverTime }) : script.acknowledge(ops)
        link.send(requestId === undefined ? reply : { ...reply, requestId })
      }
      for (const key of ['a', 'b']) {
        await client.tell({ do: 'write', map: 'todos', key, value: 1 })
        await script.until(
          () => held.some(([, ops]) => ops.some((op) => op.key === key)) || undefined,
          `an op of ${key}`,
        )
      }
      const [first, second] = held
      if (first === undefined || second === undefined) throw new Skipped('the client sends both in one message')
      answer(first, true)
      const isGood = (op: SentOp): boolean => op.record.timestamp.millis - script.now() <= DRIFT_MS
      await shortly()
      // This one is about the stamp that b had before, whether it was sent under its new one already or not.
      answer(second, true)
      await script.op(link, 'b', isGood)
      await shortly()
      for (const each of held.slice(2)) answer(each, false)
      await script.until(() => script.record('todos', 'b'), 'b to be written')
      await shortly()
      const stamps = new Set(
        script.ops(link).flatMap(({ key, record }) => (key === 'b' ? [shown(record.timestamp)] : [])),
      )
      expectThat(stamps.size === 2, 'two stamps for b: the former and the new one', [...stamps])
      expectSame((await client.tell({ do: 'pending' }))['count'], 0, 'writes that are pending')
    },
  },
  {
    rule: 'CR6',
    title: 'its new stamps are later than every stamp that it has received',
    async run(script, client) {
      script.intercept = (message, link) => {
        if (!isWrite(message)) return false
        const ops = opsIn(message)
        const isAhead = ops.some((op) => op.record.timestamp.millis - script.now() > DRIFT_MS)
        const answer = isAhead
          ? script.refuse(ops, 'CLOCK_SKEW', { serverTime: script.now() })
          : script.acknowledge(ops)
        link.send(message.requestId === undefined ? answer : { ...answer, requestId: message.requestId })
        return true
      }
      await following(script, client)
      await shortly()
      script.clockOffsetMs = -3_600_000
      const received = stampAt(script.now() + 30_000)
      script.put('todos', 'theirs', { value: 1, timestamp: received })
      await reads(client, 'theirs', 1)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      const { timestamp } = await script.until(
        () => script.record('todos', 'a'),
        'a under a stamp that the server takes',
      )
      expectThat(isLater(timestamp, received), `a stamp later than ${shown(received)}`, shown(timestamp))
    },
  },
  {
    rule: 'CR7',
    title: 'a PATCH that finds nothing, because the PUT before it still waits, is not refused for good',
    async run(script, client) {
      let isBusy = true
      script.intercept = (message, link) => {
        if (!isBusy || !isWrite(message)) return false
        const { requestId } = message
        const results = opsIn(message).map((op) =>
          op.opType === 'PATCH' ? resultOf(op, 'NOT_FOUND', {}) : resultOf(op, 'OVERLOADED', { retryAfterMs: 300 }),
        )
        const answer = { type: 'OP_ACK', payload: { lastId: opsIn(message).at(-1)?.id ?? '', results } }
        link.send(requestId === undefined ? answer : { ...answer, requestId })
        return true
      }
      const link = await following(script, client)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: { n: 1 } })
      await client.tell({ do: 'patch', map: 'todos', key: 'a', set: { m: 2 } })
      await script.op(link, 'a', ({ opType }) => opType === 'PATCH')
      await shortly()
      isBusy = false
      await script.until(
        () => (isSame(script.record('todos', 'a')?.value, { n: 1, m: 2 }) ? true : undefined),
        'both writes of a',
        20_000,
      )
      expectSame((await client.tell({ do: 'rejected' }))['codes'], [], 'what was refused for good')
    },
  },
  {
    rule: 'CR7',
    title: 'what is refused for good is not sent again, and the application hears of it',
    async run(script, client) {
      script.intercept = (message, link) => {
        if (!isWrite(message)) return false
        const ops = opsIn(message)
        link.send(script.refuse(ops, 'FORBIDDEN'))
        return true
      }
      const link = await following(script, client)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      await script.op(link, 'a')
      await shortly()
      const next = await reconnected(script, link)
      await script.message(next, 'SYNC_INIT')
      await shortly()
      expectSame(script.ops(next), [], 'ops')
      const { codes } = await client.tell({ do: 'rejected' })
      expectSame(codes, ['FORBIDDEN'], 'the codes of what was refused')
    },
  },
  {
    rule: 'CR7',
    title: 'what may succeed later is sent again, not before the time that the server names',
    async run(script, client) {
      let refusedAt = 0
      script.intercept = (message, link) => {
        if (refusedAt > 0 || !isWrite(message)) return false
        const ops = opsIn(message)
        refusedAt = performance.now()
        link.send(script.refuse(ops, 'OVERLOADED', { retryAfterMs: 500 }))
        return true
      }
      await following(script, client)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      await script.until(() => script.record('todos', 'a'), 'the op again', 20_000)
      const waited = performance.now() - refusedAt
      expectThat(waited >= 450, 'the op after 500 ms', `after ${Math.round(waited)} ms`)
    },
  },
  {
    rule: 'CR12',
    title: 'an acknowledged write that the stream has not shown is sent again',
    async run(script, client) {
      script.intercept = (message, link) => {
        if (script.links.length > 1 || !isWrite(message)) return false
        const ops = opsIn(message)
        const results = ops.map(({ id }) => ({
          opId: id,
          success: true,
          achievedLevel: 'MEMORY',
          latencyMs: 1,
          seq: 1_000_000,
        }))
        link.send({ type: 'OP_ACK', payload: { lastId: ops.at(-1)?.id ?? '', achievedLevel: 'MEMORY', results } })
        return true
      }
      const link = await following(script, client)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 1 })
      const first = await script.op(link, 'a')
      await shortly()
      const again = await script.op(await reconnected(script, link), 'a')
      expectSame(again.record, first.record, 'the record')
    },
  },
]
