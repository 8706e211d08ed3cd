import { copyValue, measureValue, utf8Length, type Value } from '@syncline/core'
import { KEY_BYTES, VALUE_BYTES } from '@syncline/protocol/codec'
import type { StandardSchema } from '@syncline/protocol/contract'
import { SynclineError, anotherUser, type ErrorCode, clientClosed } from '../errors.ts'
import type { Kernel } from '../feature.ts'
import { Op, type OpRow } from './overlay.ts'
import type { Replica } from './replica.ts'
import { LocalWrite, concernOf, type Write, type WriteLevel } from './write.ts'

/** A lock that is held; or its name and token, of whoever holds it. */
export interface FenceSource {
  readonly name: string
  readonly fencingToken: number
}

/** How a write is to be made. */
export interface WriteOptions {
  /**
   * How much must have happened on the server before it acknowledges; 'memory' by default. With 'none' it never does:
   * the write is sent once and may be lost without a word.
   */
  readonly concern?: 'none' | Exclude<WriteLevel, 'local'>
  /** Milliseconds after which the record reads as absent. */
  readonly ttlMs?: number
  /** A lock under which this is written: refused STALE_TOKEN where another has it, or the server has been started anew. */
  readonly fence?: FenceSource
}

/** What an op does, before it is one. */
export type Draft = Pick<OpRow, 'type' | 'value' | 'unset' | 'ttlMs' | 'tag' | 'count'>

/** How a write is undone: by another one. */
export type Undo = () => Write

/** Makes ops of one map, and the handles on them. */
export class OpWriter {
  readonly #kernel: Kernel
  readonly #replica: Replica

  constructor(kernel: Kernel, replica: Replica) {
    this.#kernel = kernel
    this.#replica = replica
  }

  /** Throws where no more is taken: CLOSED, BAD_KEY, BACKPRESSURE. */
  checkRoom(key: string): void {
    const { turn, data, maxPending } = this.#kernel
    if (turn.isClosed) throw clientClosed()
    checkName(key, KEY_BYTES, 'A key')
    const { ops, refusedCount } = data.overlay
    if (ops.size - refusedCount >= maxPending) {
      refuse('BACKPRESSURE', `${maxPending} writes wait for the server; no more are taken until some are done.`)
    }
  }

  /**
   * Writes under a key; without a draft nothing, which is done already. `handle` was given out before. Throws
   * VALIDATION_ERROR for a level or a time to live that there is not.
   */
  write(key: string, options: WriteOptions, draft: Draft | undefined, undo: Undo, handle?: LocalWrite): LocalWrite {
    const { data, env } = this.#kernel
    const undoOwn = (): Write => {
      if (write.op !== undefined && data.isOthers(write.op)) throw anotherUser()
      return undo()
    }
    const write = handle ?? new LocalWrite(this.#kernel, this.#kernel.newId(), undoOwn)
    write.undo = undoOwn
    if (draft === undefined) {
      write.reach('PERSISTED')
      return write
    }
    const { concern = 'memory', fence } = options ?? {}
    if (draft.ttlMs !== undefined) checkTtl(draft.ttlMs)
    const op = new Op({
      ...draft,
      id: write.id,
      mapName: this.#replica.name,
      key,
      stamp: data.clock.tick(),
      concern: concern === 'none' ? 'FIRE_AND_FORGET' : concernOf(concern),
      ...(!fence ? {} : { fence: { name: fence.name, token: fence.fencingToken } }),
      // An item that is gone is removed, and no other write than its own adds it.
      inBase: draft.tag === undefined && this.#replica.isInBase(key),
      at: env.now(),
    })
    data.add(op)
    write.attach(op)
    return write
  }
}

/** What a schema makes of a value. Throws VALIDATION_ERROR. */
export function validate(schema: StandardSchema, value: unknown): unknown {
  const result = schema['~standard'].validate(value)
  if (result instanceof Promise) refuse('VALIDATION_ERROR', 'A schema must validate synchronously.')
  if (result.issues === undefined) return result.value
  const [issue] = result.issues
  const path = issue?.path?.map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
  throw new SynclineError('VALIDATION_ERROR', `${path ? `${path}: ` : ''}${issue?.message}`, {
    details: result.issues,
  })
}

/** Throws VALIDATION_ERROR where something can last for no such time. */
export function checkTtl(ttlMs: unknown): void {
  if (!(typeof ttlMs === 'number' && ttlMs > 0 && ttlMs < Infinity))
    refuse('VALIDATION_ERROR', 'ttlMs is a finite number of milliseconds above 0.')
}

/** Checks the name of a key or map. */
export function checkName(name: string, maxBytes: number, what: string): void {
  const bytes = typeof name === 'string' ? utf8Length(name) : -1
  if (bytes < 1 || bytes > maxBytes) refuse('BAD_KEY', `${what} is a well-formed text of 1 to ${maxBytes} bytes.`)
}

const VALUES =
  'A value is null, a boolean, a finite number, a well-formed text, a Uint8Array, or an array or plain object of these, 32 deep at most.'

/** A copy of a value that can be stored. Throws BAD_VALUE, TOO_DEEP or TOO_LARGE. */
export function toValue(input: unknown): Value {
  const copy = copyValue(input)
  if ('fault' in copy) refuse(copy.fault, VALUES)
  const size = measureValue(copy.value)
  if (typeof size !== 'number' || size > VALUE_BYTES) refuse('TOO_LARGE', `A value has at most ${VALUE_BYTES} bytes.`)
  return copy.value
}

/** Throws an error. */
export function refuse(code: ErrorCode, message: string): never {
  throw new SynclineError(code, message)
}
