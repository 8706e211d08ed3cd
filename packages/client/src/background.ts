import type { LwwRecord } from '@syncline/core'
import { reconciliationShapes } from '@syncline/protocol/codec'
import type { Feature, Kernel } from './feature.ts'
import { Comparisons } from './features/merkle-sync/comparisons.ts'
import { Pushes } from './features/merkle-sync/pushes.ts'
import { conflictOf } from './offline/conflicts.ts'
import type { Op } from './offline/overlay.ts'
import { Adoption } from './session/adoption.ts'
import { Refusals } from './session/refusals.ts'

/** What every client needs, and none at once: it is loaded while the first session begins. */
export interface Background extends Feature {
  readonly Adoption: typeof Adoption
  readonly comparisons: Comparisons
  readonly pushes: Pushes
  readonly refusals: Refusals
  /** An op is confirmed where base has this record, or none: tells what it lost to another writer's. */
  replaced(op: Op, record: LwwRecord | undefined): void
}

/** Makes it run. */
export function start(kernel: Kernel): Background {
  const refusals = new Refusals(kernel)
  const pushes = new Pushes(kernel)
  const comparisons = new Comparisons(kernel, pushes)
  return {
    Adoption,
    comparisons,
    pushes,
    refusals,
    replaced(op, record) {
      const conflict = conflictOf(op, record, kernel.data.clock.now(), (nodeId) => kernel.data.isOwn(nodeId))
      if (conflict !== undefined) kernel.conflict(conflict)
    },
    shapes: reconciliationShapes,
    offline() {
      comparisons.stop()
      pushes.stop()
    },
    handlers: {
      OP_REJECTED: ({ payload }) => refusals.rejected(payload),
      SYNC_PUSH_RESP: ({ payload }) => pushes.answered(payload),
      SYNC_TRIE_RESP: (message) => comparisons.leaves(message),
      SYNC_LEAVES_RESP: (message) => comparisons.keys(message),
      SYNC_RECORDS: (message) => comparisons.records(message),
    },
  }
}
