import {
  ERRORS,
  LIMITS,
  wireError,
  type OpBatchMessage,
  type ReceivedOp,
  type OpRejected,
  type OpResult,
  type RefusedOp,
  isRefusedOp,
  type WireError,
  type WriteConcern,
} from '@syncline/protocol'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { Session } from '../../sessions/session.ts'
import { AckOrder } from './ack-order.ts'
import { isDurable, refused, unreached, type MapService } from './service.ts'

const DEFAULT_LEVEL: WriteConcern = 'MEMORY'

/** CLIENT_OP and OP_BATCH. */
export function mapHandlers(kernel: Kernel, service: MapService): Handlers {
  const order = new AckOrder()

  const answer = (
    session: Session,
    lastId: string,
    results: readonly OpResult[],
    pending: ReadonlySet<number>,
    timeoutMs: number,
  ): Reply => {
    for (const result of results) if (isFinalRefusal(result)) session.send(rejection(result))
    if (pending.size === 0) {
      return { ack: { lastId: order.now(session, lastId), achievedLevel: lowest(results), results } }
    }
    const startedAt = kernel.env.monotonic()
    const settle = order.later(session, lastId)
    return {
      later: (deliver) => {
        service.whenDurable(session, timeoutMs, (failure: WireError | undefined) => {
          const latencyMs = Math.round(kernel.env.monotonic() - startedAt)
          const settled = results.map((result, i) => {
            const timed = { ...result, latencyMs }
            return pending.has(i) && failure !== undefined ? unreached(timed, failure) : timed
          })
          deliver({ ack: { lastId: settle(), achievedLevel: lowest(settled), results: settled } })
        })
      },
    }
  }

  return {
    CLIENT_OP: {
      maps: ({ payload }) => (isRefusedOp(payload) ? NO_MAPS : [payload.mapName]),
      handle: (session, { payload: op }) => {
        const level = op.writeConcern ?? DEFAULT_LEVEL
        if (isRefusedOp(op)) {
          kernel.limits.note(op.refused)
          const opId = service.idOf(op)
          return level === 'FIRE_AND_FORGET'
            ? undefined
            : answer(session, opId, [refused(opId, op.refused)], NO_INDEXES, 0)
        }
        const results = service.write(session, op.mapName, [op], level)
        if (level === 'FIRE_AND_FORGET') return undefined
        const { opId, success } = results[0] as OpResult
        const pending = success && isDurable(level) ? FIRST : NO_INDEXES
        return answer(session, opId, results, pending, op.timeout ?? LIMITS.writeTimeoutMs)
      },
    },
    OP_BATCH: {
      maps: ({ payload }) => mapNamesOf(payload.ops),
      handle: (session, { payload }) => {
        const results: OpResult[] = []
        let pending: Set<number> | undefined
        let timeoutMs = 0
        let lastId = ''
        for (const run of runsOf(payload)) {
          if ('refused' in run) {
            kernel.limits.note(run.refused)
            lastId = service.idOf(run)
            const level = run.writeConcern ?? payload.writeConcern
            if (level !== 'FIRE_AND_FORGET') results.push(refused(lastId, run.refused))
            continue
          }
          const { level, mapName, ops } = run
          const made = service.write(session, mapName, ops, level)
          lastId = (made.at(-1) as OpResult).opId
          if (level === 'FIRE_AND_FORGET') continue
          for (let i = 0; i < made.length; i++) {
            const result = made[i] as OpResult
            if (result.success && isDurable(level)) {
              ;(pending ??= new Set()).add(results.length)
              timeoutMs = Math.max(timeoutMs, ops[i]?.timeout ?? payload.timeout ?? LIMITS.writeTimeoutMs)
            }
            results.push(result)
          }
        }
        if (results.length === 0) return undefined
        return answer(session, lastId, results, pending ?? NO_INDEXES, timeoutMs)
      },
    },
  }
}

const NO_MAPS: readonly string[] = []
const NO_INDEXES: ReadonlySet<number> = new Set()
const FIRST: ReadonlySet<number> = new Set([0])

function mapNamesOf(ops: readonly (ReceivedOp | RefusedOp)[]): readonly string[] {
  const names: string[] = []
  for (const op of ops) if (!isRefusedOp(op) && !names.includes(op.mapName)) names.push(op.mapName)
  return names
}

/** Ops of a batch that follow one another on one map, at one level: they are committed by one request. */
interface Run {
  readonly mapName: string
  readonly level: WriteConcern
  readonly ops: ReceivedOp[]
}

function runsOf({ ops, writeConcern }: OpBatchMessage<ReceivedOp | RefusedOp>['payload']): (Run | RefusedOp)[] {
  const runs: (Run | RefusedOp)[] = []
  let run: Run | undefined
  for (const op of ops) {
    if (isRefusedOp(op)) {
      runs.push(op)
      run = undefined
      continue
    }
    const { mapName } = op
    const level = op.writeConcern ?? writeConcern ?? DEFAULT_LEVEL
    if (run?.mapName !== mapName || run.level !== level) runs.push((run = { mapName, level, ops: [] }))
    run.ops.push(op)
  }
  return runs
}

const RANK: Readonly<Record<WriteConcern, number>> = {
  FIRE_AND_FORGET: 0,
  MEMORY: 1,
  APPLIED: 2,
  REPLICATED: 3,
  PERSISTED: 4,
}

function lowest(results: readonly OpResult[]): WriteConcern {
  let level: WriteConcern = 'PERSISTED'
  for (const { achievedLevel } of results) if (RANK[achievedLevel] < RANK[level]) level = achievedLevel
  return level
}

/** A refusal that sending again does not mend, of which existing clients must be told by OP_REJECTED. */
function isFinalRefusal(result: OpResult): boolean {
  return result.errorCode !== undefined && !ERRORS[result.errorCode].retryable
}

function rejection(result: OpResult): OpRejected {
  const { errorCode, message } = wireError(result.errorCode ?? 'INTERNAL_ERROR', result.error)
  return {
    type: 'OP_REJECTED',
    payload: { opId: result.opId, reason: message, code: ERRORS[errorCode].status, errorCode },
  }
}
