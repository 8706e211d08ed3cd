import { copyValue, isMap, measureValue, utf8Length, valuesEqual, type Value, type ValueMap } from '@syncline/core'
import { KEY_BYTES, VALUE_BYTES, type WriteConcern } from '@syncline/protocol/codec'
import type { StandardSchema } from '@syncline/protocol/contract'
import { SynclineError, anotherUser, type ErrorCode } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import { Op, type OpRow } from '../../offline/overlay.ts'
import type { Replica } from '../../offline/replica.ts'
import { LocalWrite, type Write, type WriteLevel } from '../../offline/write.ts'

/** How a write is to be made. */
export interface WriteOptions {
  /**
   * How much must have happened on the server before it acknowledges; 'memory' by default. With 'none' it never does:
   * the write is sent once and may be lost without a word.
   */
  readonly concern?: 'none' | Exclude<WriteLevel, 'local'>
  /** Milliseconds after which the record reads as absent. */
  readonly ttlMs?: number
}

/** What an op does, before it is one. */
export type Draft = Pick<OpRow, 'type' | 'value' | 'unset' | 'ttlMs'>

/** Makes ops out of what the application writes. */
export class MapWriter {
  readonly #kernel: Kernel
  readonly #replica: Replica
  readonly #schema: StandardSchema | undefined
  readonly #ttlMs: number | undefined
  readonly #maxPending: number
  readonly #nextId: () => string

  constructor(
    kernel: Kernel,
    replica: Replica,
    { schema, ttlMs }: { readonly schema?: StandardSchema; readonly ttlMs?: number },
    maxPending: number,
    nextId: () => string,
  ) {
    this.#kernel = kernel
    this.#replica = replica
    this.#schema = schema
    this.#ttlMs = ttlMs
    this.#maxPending = maxPending
    this.#nextId = nextId
  }

  put(key: string, input: unknown, options: WriteOptions): Write {
    this.#checkRoom(key)
    const { ttlMs = this.#ttlMs } = options
    if (ttlMs !== undefined && !(typeof ttlMs === 'number' && ttlMs > 0 && ttlMs < Infinity))
      refuse('VALIDATION_ERROR', 'ttlMs is a positive number of milliseconds that is finite.')
    const value = toValue(this.#validate(input))
    return this.#write(key, options, wholeDraft(value, ttlMs))
  }

  remove(key: string, options: WriteOptions): Write {
    this.#checkRoom(key)
    return this.#write(key, options, wholeDraft(null))
  }

  update(key: string, recipe: (draft: unknown) => unknown, options: WriteOptions): Write {
    this.#checkRoom(key)
    if (this.#kernel.isReady || this.#replica.get(key) !== undefined) {
      return this.#write(key, options, this.#patch(key, recipe))
    }
    // What the key holds is known when local data is loaded; a failure can only be told then.
    const write = new LocalWrite(this.#kernel.writeHost, this.#nextId(), () => {
      throw new SynclineError('NOT_FOUND', 'Nothing has been written yet: await `ready` first.')
    })
    this.#kernel.whenReady(() => {
      try {
        this.#write(key, options, this.#patch(key, recipe), write)
      } catch (error) {
        this.#kernel.failed(write, asSynclineError(error))
      }
    })
    return write
  }

  #patch(key: string, recipe: (draft: unknown) => unknown): Draft | undefined {
    const before = this.#replica.get(key)
    if (before === undefined) throw new SynclineError('NOT_FOUND', `There is nothing under '${key}' to update: set it.`)
    const draft = (copyValue(before) as { value: Value }).value
    const after = recipe(draft) ?? draft
    if (!isMap(before) || !isMap(after as Value)) {
      const value = toValue(this.#validate(after))
      return valuesEqual(before, value) ? undefined : wholeDraft(value, this.#replica.record(key)?.ttlMs)
    }
    const changedTo = toValue(after) as ValueMap
    const names = new Set([...Object.keys(before), ...Object.keys(changedTo)])
    const changed = [...names].filter((name) => !valuesEqual(before[name], changedTo[name]))
    if (changed.length === 0) return undefined
    // Fields that the schema does not know belong to a newer version of the application: they stay as they are.
    const checked = toValue(this.#validate(after)) as ValueMap
    return patchDraft(
      changed.filter((name) => Object.hasOwn(checked, name) || Object.hasOwn(before, name)),
      checked,
    )
  }

  #write(key: string, options: WriteOptions, draft: Draft | undefined, handle?: LocalWrite): Write {
    const { clock, env, writeHost } = this.#kernel
    const before = this.#replica.get(key)
    const ttlMs = this.#replica.record(key)?.ttlMs
    const undo = (): Write => {
      if (write.op !== undefined && writeHost.isOthers(write.op)) throw anotherUser()
      return this.#undo(key, before, ttlMs, draft)
    }
    const write = handle ?? new LocalWrite(writeHost, this.#nextId(), undo)
    write.undo = undo
    if (draft === undefined) {
      write.reach('PERSISTED')
      return write
    }
    const { concern = 'memory' } = options
    const op = new Op({
      ...draft,
      id: write.id,
      mapName: this.#replica.name,
      key,
      stamp: clock.tick(),
      concern: concern === 'none' ? 'FIRE_AND_FORGET' : (concern.toUpperCase() as WriteConcern),
      inBase: this.#replica.isInBase(key),
      at: env.now(),
    })
    this.#kernel.addOp(op)
    write.attach(op)
    return write
  }

  #undo(key: string, before: Value | undefined, ttlMs: number | undefined, draft: Draft | undefined): Write {
    this.#checkRoom(key)
    const isPatch = draft?.type === 'PATCH'
    if (draft === undefined || (isPatch && !isMap(this.#replica.get(key)))) return this.#write(key, {}, undefined)
    if (!isPatch) return this.#write(key, {}, wholeDraft(before ?? null, ttlMs))
    const names = [...Object.keys(draft.value as ValueMap), ...(draft.unset ?? [])]
    return this.#write(key, {}, patchDraft(names, before as ValueMap))
  }

  #validate(value: unknown): unknown {
    if (this.#schema === undefined || value === null) return value
    const result = this.#schema['~standard'].validate(value)
    if (result instanceof Promise) refuse('VALIDATION_ERROR', 'The schema of a map must validate synchronously.')
    if (result.issues === undefined) return result.value
    const [issue] = result.issues
    const path = issue?.path?.map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
    throw new SynclineError('VALIDATION_ERROR', `${path ? `${path}: ` : ''}${issue?.message}`, {
      details: result.issues,
    })
  }

  #checkRoom(key: string): void {
    if (this.#kernel.turn.isClosed) refuse('CLOSED', 'The client is closed.')
    checkName(key, KEY_BYTES, 'A key')
    const { ops, refusedCount } = this.#kernel.overlay
    if (ops.size - refusedCount >= this.#maxPending) {
      refuse('BACKPRESSURE', `${this.#maxPending} writes wait for the server; no more are taken until some are done.`)
    }
  }
}

/** Checks the name of a key or map. */
export function checkName(name: string, maxBytes: number, what: string): void {
  const bytes = typeof name === 'string' ? utf8Length(name) : -1
  if (bytes < 1 || bytes > maxBytes) refuse('BAD_KEY', `${what} is a well-formed text of 1 to ${maxBytes} bytes.`)
}

function toValue(input: unknown): Value {
  const copy = copyValue(input)
  if ('fault' in copy) refuse(copy.fault, 'A value holds something that cannot be stored.')
  const size = measureValue(copy.value)
  if (typeof size !== 'number' || size > VALUE_BYTES) refuse('TOO_LARGE', `A value has at most ${VALUE_BYTES} bytes.`)
  return copy.value
}

function wholeDraft(value: Value, ttlMs?: number): Draft {
  if (value === null) return { type: 'REMOVE', value }
  return ttlMs === undefined ? { type: 'PUT', value } : { type: 'PUT', value, ttlMs }
}

/** Sets the named fields to what they are in a map; those that it lacks are unset. */
function patchDraft(names: readonly string[], from: ValueMap): Draft | undefined {
  const isSet = (name: string): boolean => Object.hasOwn(from, name)
  const unset = names.filter((name) => !isSet(name))
  const value = Object.fromEntries(names.filter(isSet).map((name) => [name, from[name] as Value]))
  if (names.length === 0) return undefined
  return { type: 'PATCH', value, ...(unset.length === 0 ? {} : { unset }) }
}

function asSynclineError(error: unknown): SynclineError {
  return error instanceof SynclineError ? error : new SynclineError('VALIDATION_ERROR', String(error), { cause: error })
}

function refuse(code: ErrorCode, message: string): never {
  throw new SynclineError(code, message)
}
