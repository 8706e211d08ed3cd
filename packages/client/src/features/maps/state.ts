import { copyValue, isMap, valuesEqual, type Value, type ValueMap } from '@syncline/core'
import type { StandardSchema } from '@syncline/protocol/contract'
import { SynclineError, asSynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import { OpWriter, toValue, validate, type Draft, type WriteOptions } from '../../offline/op-writer.ts'
import type { Replica } from '../../offline/replica.ts'
import { check } from '../../readable.ts'
import { earlyWrite, type LocalWrite, type Write } from '../../offline/write.ts'

/** Makes ops out of what the application writes. */
export class MapWriter {
  readonly #kernel: Kernel
  readonly #replica: Replica
  readonly #schema: StandardSchema | undefined
  readonly #ttlMs: number | undefined
  readonly #ops: OpWriter

  constructor(
    kernel: Kernel,
    replica: Replica,
    { schema, ttlMs }: { readonly schema?: StandardSchema; readonly ttlMs?: number },
  ) {
    this.#kernel = kernel
    this.#replica = replica
    this.#schema = schema
    this.#ttlMs = ttlMs
    this.#ops = new OpWriter(kernel, replica)
  }

  put(key: string, input: unknown, options: WriteOptions): Write {
    this.#ops.checkRoom(key)
    const { ttlMs = this.#ttlMs } = options ?? {}
    const value = toValue(this.#validate(input))
    return this.#write(key, options, wholeDraft(value, ttlMs))
  }

  remove(key: string, options: WriteOptions): Write {
    this.#ops.checkRoom(key)
    return this.#write(key, options, wholeDraft(null))
  }

  update(key: string, recipe: (draft: unknown) => unknown, options: WriteOptions): Write {
    this.#ops.checkRoom(key)
    if (this.#kernel.data.isReady || this.#replica.get(key) !== undefined) {
      return this.#write(key, options, this.#patch(key, recipe))
    }
    // What the key holds is known when local data is loaded; a failure can only be told then.
    const write = earlyWrite(this.#kernel)
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
    check(recipe)
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
    const before = this.#replica.get(key)
    const ttlMs = this.#replica.record(key)?.ttlMs
    return this.#ops.write(key, options, draft, () => this.#undo(key, before, ttlMs, draft), handle)
  }

  #undo(key: string, before: Value | undefined, ttlMs: number | undefined, draft: Draft | undefined): Write {
    this.#ops.checkRoom(key)
    const isPatch = draft?.type === 'PATCH'
    if (draft === undefined || (isPatch && !isMap(this.#replica.get(key)))) return this.#write(key, {}, undefined)
    if (!isPatch) return this.#write(key, {}, wholeDraft(before ?? null, ttlMs))
    const names = [...Object.keys(draft.value as ValueMap), ...(draft.unset ?? [])]
    return this.#write(key, {}, patchDraft(names, before as ValueMap))
  }

  #validate(value: unknown): unknown {
    return this.#schema === undefined || value === null ? value : validate(this.#schema, value)
  }
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
