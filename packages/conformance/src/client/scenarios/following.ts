import { expectSame, expectThat, isSame, shown } from '../../failure.ts'
import { following, reads, reconnected, shortly, stampAt, type Scenario } from '../scenario.ts'
import { fieldsOf, isWrite, opsIn } from '../script.ts'
import { isLater } from '../stamps.ts'

/** What is read, and how maps are followed: CR8 to CR11, CR13. */
export const followingScenarios: readonly Scenario[] = [
  {
    rule: 'CR8',
    title: 'its own writes are read at once, and stand over older ones that come',
    async run(script, client) {
      script.intercept = isWrite
      await following(script, client)
      script.put('todos', 'a', { value: 'theirs', timestamp: stampAt(script.now() - 20_000) })
      await reads(client, 'a', 'theirs')
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 'ours' })
      await reads(client, 'a', 'ours')
      script.put('todos', 'a', { value: 'older', timestamp: stampAt(script.now() - 10_000) })
      script.put('todos', 'b', { value: 'mark', timestamp: stampAt(script.now()) })
      await reads(client, 'b', 'mark')
      await reads(client, 'a', 'ours')
    },
  },
  {
    rule: 'CR8',
    title: 'a later write of somebody else stands over its own',
    async run(script, client) {
      await following(script, client)
      await client.tell({ do: 'write', map: 'todos', key: 'a', value: 'ours' })
      await reads(client, 'a', 'ours')
      script.put('todos', 'a', { value: 'theirs', timestamp: stampAt(script.now() + 10_000) })
      await reads(client, 'a', 'theirs')
      script.put('todos', 'a', { value: null, timestamp: stampAt(script.now() + 20_000) })
      await reads(client, 'a', undefined)
    },
  },
  {
    rule: 'CR8',
    title: 'its PATCH and a write of another field by somebody else both stand',
    async run(script, client) {
      script.intercept = isWrite
      const link = await following(script, client)
      const base = stampAt(script.now() - 20_000)
      script.put('todos', 'a', { value: { x: 0, y: 0 }, timestamp: base })
      await reads(client, 'a', { x: 0, y: 0 })
      await client.tell({ do: 'patch', map: 'todos', key: 'a', set: { x: 1 } })
      const op = await script.op(link, 'a')
      expectThat(op.opType === 'PATCH', 'a PATCH', op)
      expectSame(op.record.value, { x: 1 }, 'the fields')
      const stamp = stampAt(script.now() + 1_000)
      script.put('todos', 'a', { value: { x: 0, y: 2 }, timestamp: stamp, base, fields: { y: { stamp } } })
      await reads(client, 'a', { x: 1, y: 2 })
    },
  },
  {
    rule: 'CR9',
    title: 'it follows from null at first, and from the cursor of the latest event when it comes back',
    async run(script, client) {
      const link = await following(script, client)
      const init = await script.message(link, 'SYNC_INIT')
      expectThat(fieldsOf(init)['cursor'] === null, 'cursor null', shown(fieldsOf(init)['cursor']))
      const seq = script.put('todos', 'a', { value: 1, timestamp: stampAt(script.now()) })
      await reads(client, 'a', 1)
      const next = await script.message(await reconnected(script, link), 'SYNC_INIT')
      expectSame(fieldsOf(next)['cursor'], `c${seq}`, 'the cursor')
      await reads(client, 'a', 1)
    },
  },
  {
    rule: 'CR9',
    title: 'it stores the cursor of each page, and comes back with that of the last one that came',
    async run(script, client) {
      script.intercept = (message, link) => {
        if (message.type !== 'SYNC_INIT' || script.links.length > 1) return false
        const records = [{ key: 'a', record: { value: 1, timestamp: stampAt(script.now()) }, seq: 7 }]
        const page = { mapName: 'todos', records, cursor: 'page-1', seq: 7, more: true }
        link.send({ type: 'SYNC_DIFF', payload: page })
        return true
      }
      const link = await following(script, client)
      await reads(client, 'a', 1)
      const next = await script.message(await reconnected(script, link), 'SYNC_INIT')
      expectSame(fieldsOf(next)['cursor'], 'page-1', 'the cursor')
    },
  },
  {
    rule: 'RT5',
    title: 'a write of a key that it had, and that is gone after a reset, does not bring it back',
    async run(script, client) {
      const link = await following(script, client)
      script.put('todos', 'gone', { value: { n: 1 }, timestamp: stampAt(script.now() - 1_000) })
      await reads(client, 'gone', { n: 1 })
      let isReset = false
      script.intercept = (message, at) => {
        if (isWrite(message)) return true
        if (message.type !== 'SYNC_INIT' || isReset || at === link) return false
        isReset = true
        script.lose('todos', 'gone')
        at.send({ type: 'SYNC_RESET_REQUIRED', payload: { mapName: 'todos', reason: 'The script says so.' } })
        return true
      }
      await client.tell({ do: 'write', map: 'todos', key: 'gone', value: { n: 2 } })
      await client.tell({ do: 'write', map: 'todos', key: 'mine', value: 1 })
      await script.op(link, 'mine')
      const next = await reconnected(script, link)
      await script.message(next, 'SYNC_INIT', (message) => fieldsOf(message)['cursor'] === null)
      await script.op(next, 'mine')
      await shortly()
      const last = await reconnected(script, next)
      await script.op(last, 'mine')
      await shortly()
      expectSame(
        script.ops(last).map(({ key }) => key),
        ['mine'],
        'ops of',
      )
    },
  },
  {
    rule: 'RT5',
    title:
      'a STALE write of a key that it did not have is stamped anew where it was not sent before, and else given up',
    async run(script, client) {
      const pruned = stampAt(script.now() + 20_000)
      const link = await following(script, client)
      let isSilent = true
      script.intercept = (message, at) => {
        if (!isWrite(message)) return false
        const ops = opsIn(message)
        const isStale = ops.some(({ record }) => !isLater(record.timestamp, pruned))
        const answer = isStale ? script.refuse(ops, 'STALE', { prunedThrough: pruned }) : script.acknowledge(ops)
        if (!isSilent) at.send(message.requestId === undefined ? answer : { ...answer, requestId: message.requestId })
        return true
      }
      await client.tell({ do: 'write', map: 'todos', key: 'doubtful', value: 1 })
      const sent = await script.op(link, 'doubtful')
      isSilent = false
      const next = await reconnected(script, link)
      await script.op(next, 'doubtful')
      await client.tell({ do: 'write', map: 'todos', key: 'fresh', value: 2 })
      const { timestamp } = await script.until(() => script.record('todos', 'fresh'), 'fresh under a later stamp')
      expectThat(isLater(timestamp, pruned), `a stamp later than ${shown(pruned)}`, shown(timestamp))
      await shortly()
      const stamps = script.links.flatMap((each) => script.ops(each).filter(({ key }) => key === 'doubtful'))
      expectThat(
        stamps.every(({ record }) => isSame(record.timestamp, sent.record.timestamp)),
        'one stamp for what was sent before',
        stamps.map(({ record }) => record.timestamp),
      )
    },
  },
  {
    rule: 'CR10',
    title: 'after SYNC_RESET_REQUIRED it forgets what was confirmed, keeps what is pending, and starts with null',
    async run(script, client) {
      const link = await following(script, client)
      script.put('todos', 'old', { value: 1, timestamp: stampAt(script.now()) })
      await reads(client, 'old', 1)
      let isReset = false
      script.intercept = (message, at) => {
        if (isWrite(message)) return !isReset
        if (message.type !== 'SYNC_INIT' || isReset || at === link) return false
        isReset = true
        script.lose('todos', 'old')
        at.send({ type: 'SYNC_RESET_REQUIRED', payload: { mapName: 'todos', reason: 'The script says so.' } })
        return true
      }
      await client.tell({ do: 'write', map: 'todos', key: 'mine', value: 2 })
      await script.op(link, 'mine')
      const next = await reconnected(script, link)
      await script.message(next, 'SYNC_INIT', (message) => fieldsOf(message)['cursor'] === null)
      await script.op(next, 'mine')
      await reads(client, 'old', undefined)
      await reads(client, 'mine', 2)
    },
  },
  {
    rule: 'CR11',
    title: 'what it holds and the server has lost it pushes back, with its stamps',
    async run(script, client) {
      const link = await following(script, client)
      const record = { value: { n: 1 }, timestamp: stampAt(script.now()) }
      const seq = script.put('todos', 'a', record)
      await reads(client, 'a', { n: 1 })
      script.lost = [[seq - 1, seq]]
      script.lose('todos', 'a')
      const next = await reconnected(script, link)
      const push = await script.message(next, 'SYNC_PUSH')
      const [pushed] = fieldsOf(push)['records'] as { key: string; record: typeof record }[]
      expectSame(pushed?.key, 'a', 'the key')
      expectSame(pushed?.record.timestamp, record.timestamp, 'the stamp')
      await reads(client, 'a', { n: 1 })
    },
  },
  {
    rule: 'CR11',
    title: 'what is refused of a push is replaced by the record in the refusal',
    async run(script, client) {
      const link = await following(script, client)
      const seq = script.put('todos', 'a', { value: 'ours', timestamp: stampAt(script.now()) })
      await reads(client, 'a', 'ours')
      script.lost = [[seq - 1, seq]]
      script.lose('todos', 'a')
      // Older than what the client holds: it does not win by its stamp.
      script.pushRefusal = { value: 'theirs', timestamp: stampAt(script.now() - 60_000) }
      await script.message(await reconnected(script, link), 'SYNC_PUSH')
      await reads(client, 'a', 'theirs')
    },
  },
  {
    rule: 'CR11',
    title: 'a client whose base is not whole does not push',
    async run(script, client) {
      script.hasNoDigest = true
      const link = await following(script, client)
      const seq = script.put('todos', 'a', { value: 1, timestamp: stampAt(script.now()) })
      await reads(client, 'a', 1)
      script.lost = [[seq - 1, seq]]
      const next = await reconnected(script, link)
      await script.message(next, 'SYNC_INIT')
      await shortly(500)
      const pushes = next.received.filter(({ type }) => type === 'SYNC_PUSH')
      expectThat(pushes.length === 0, 'no SYNC_PUSH', pushes)
    },
  },
  {
    rule: 'CR13',
    title: 'it does so once for each connection, however long the digests differ',
    async run(script, client) {
      const link = await following(script, client)
      script.put('todos', 'a', { value: 1, timestamp: stampAt(script.now()) })
      await reads(client, 'a', 1)
      script.hasOtherDigest = true
      const next = await reconnected(script, link)
      await script.message(next, 'SYNC_INIT')
      await shortly(1_500)
      const begun = next.received.filter(
        (message) =>
          message.type === 'SYNC_TRIE' || (message.type === 'SYNC_INIT' && fieldsOf(message)['cursor'] === null),
      )
      expectThat(begun.length <= 1, 'one comparison or new beginning', begun)
      await reads(client, 'a', 1)
    },
  },
  {
    rule: 'CR13',
    title: 'where its digest differs from that of the server it compares, or starts again',
    async run(script, client) {
      const link = await following(script, client)
      script.put('todos', 'a', { value: 1, timestamp: stampAt(script.now()) })
      await reads(client, 'a', 1)
      script.hasOtherDigest = true
      const next = await reconnected(script, link)
      await script.message(next, 'SYNC_INIT')
      await script.until(
        () =>
          next.received.find(({ type }) => type === 'SYNC_TRIE' || type === 'MERKLE_REQ_BUCKET') ??
          next.received.find((message) => message.type === 'SYNC_INIT' && fieldsOf(message)['cursor'] === null),
        'SYNC_TRIE, MERKLE_REQ_BUCKET or SYNC_INIT with null',
      )
    },
  },
]
