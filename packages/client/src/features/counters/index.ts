import { COUNTER_NAME_BYTES } from '@syncline/protocol/codec'
import type { CounterDef } from '@syncline/protocol/contract'
import { counted, counterRowOf, greaterRow, type Op } from '../../offline/overlay.ts'
import { checkName } from '../../offline/op-writer.ts'
import { check } from '../../readable.ts'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import type { CountersOf } from './handle.ts'
import { Attention } from './attention.ts'
import { CounterHandle } from './state.ts'
import { NodeLease } from './node-lease.ts'

/**
 * Counters. What is added is a COUNT that belongs to no row yet. When it is to be sent, and the counter's rows are known,
 * it becomes an amount of the row of a node that this device has, and is stored as such before it leaves: sent again by
 * whomever, it counts once.
 */
export function start(kernel: Kernel): LateFeature<CounterDef, CountersOf> {
  const handles = new Map<string, CounterHandle>()
  const attention = new Attention(kernel)
  const lease = new NodeLease(kernel, () => kernel.outbox.flushSoon())

  kernel.outbox.count = (op) => {
    const replica = kernel.data.replica(op.row.mapName)
    // A reader of nothing does not know how far a row is that others of this device had: it takes one that is new.
    if (replica.link !== 'live' && replica.link !== 'refused') return false
    const { writer } = kernel.data
    const isFailing = writer.fault !== undefined
    // Whoever finds what is stored of it, or is being stored, would count it anew.
    if (isFailing && ((op.stored && !op.stored.count) || !writer.isStored(op.row.id))) return false
    const isNew = replica.link === 'refused' || isFailing
    if (op.row.count === undefined || (isFailing && !mayFail(op))) {
      const row = lease.row(op.row.mapName, isNew)
      if (row === undefined) return false
      assign(op, row.nodeId, row.counted)
    }
    return writer.isStored(op.row.id)
  }

  /** Where it is not stored how far a row is, nobody after this tab knows: the row must be this tab's own. */
  const mayFail = ({ row, stored }: Op): boolean => stored?.count !== undefined || row.key === lease.ownNode

  function assign(op: Op, nodeId: string, known: Parameters<typeof counted>[0]): void {
    const { mapName, value } = op.row
    const replica = kernel.data.replica(mapName)
    const count = counted(greaterRow(counterRowOf(replica.record(nodeId)), known), value as number)
    // A reader of nothing is never shown it again.
    if (replica.link === 'refused') lease.counted(nodeId, mapName, count)
    const before = op.row.key
    kernel.data.overlay.count(op, nodeId, count)
    replica.touch(before)
    replica.touch(nodeId)
    kernel.data.writer.markOp(op.row.id)
  }

  function open(name: string): CounterHandle {
    let handle = handles.get(name)
    if (handle === undefined) {
      checkName(name, COUNTER_NAME_BYTES, 'The name of a counter')
      const replica = kernel.data.held(`counter:${name}`)
      const seen = (): void => attention.seen(replica)
      handle = new CounterHandle(kernel, replica, seen, (op) => {
        // Without locks nobody can tell whether a tab lives: each has a row of its own, so that what another one
        // finds of it, and sends, counts once as well.
        if (kernel.env.locks === undefined) assign(op, lease.ownNode, lease.known(lease.ownNode, op.row.mapName))
      })
      handles.set(name, handle)
      seen()
    }
    return handle
  }

  // What was written before the code was here.
  kernel.outbox.flushSoon()
  return {
    handlers: {},
    open: (group) => (name) => {
      if (name === undefined) return open(group)
      check(name, 'string', 'The name of a counter')
      return open(`${group}:${name}`)
    },
  }
}
