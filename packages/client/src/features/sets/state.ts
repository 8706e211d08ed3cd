import { compareTags, itemKey, parseItemKey, valuesEqual, type Value } from '@syncline/core'
import { KEY_BYTES } from '@syncline/protocol/codec'
import type { StandardSchema } from '@syncline/protocol/contract'
import type { Kernel } from '../../feature.ts'
import { OpWriter, checkName, toValue, validate, type Draft, type WriteOptions } from '../../offline/op-writer.ts'
import type { Replica } from '../../offline/replica.ts'
import type { LocalWrite, Write } from '../../offline/write.ts'
import { Source, type Unsubscribe } from '../../readable.ts'
import type { SyncSet } from './handle.ts'

/** Which items of an OR-map belong to which key. Removed ones count: what undoes the removal is another item. */
export class SetItems {
  readonly replica: Replica
  readonly #itemKeys = new Map<string, Set<string>>()
  readonly #listeners = new Map<string, Set<() => void>>()

  constructor(replica: Replica) {
    this.replica = replica
    for (const [key] of replica.entries()) this.#note(key)
    // For as long as the client is there, as the map itself.
    replica.listeners.add((changed) => {
      const owners = new Set<string>()
      for (const key of changed) owners.add(this.#note(key))
      // Without keys it is something about the whole map.
      const told = changed.size === 0 ? this.#listeners.keys() : owners
      for (const owner of told) for (const listen of this.#listeners.get(owner) ?? []) listen()
    })
  }

  /** What a key shows, in the order of the tags. */
  of(key: string): (readonly [itemKey: string, value: Value])[] {
    // What has changed in this turn is told at its end; whoever asks before is told now.
    this.replica.publish()
    const shown: [string, string, Value][] = []
    for (const item of this.#itemKeys.get(key) ?? []) {
      const value = this.replica.get(item)
      if (value !== undefined) shown.push([parseItemKey(item)?.tag ?? '', item, value])
    }
    return shown.sort(([a], [b]) => compareTags(a, b)).map(([, item, value]) => [item, value])
  }

  /** Calls back when a key may have changed. */
  listen(key: string, changed: () => void): () => void {
    const listeners = this.#listeners.get(key) ?? new Set()
    this.#listeners.set(key, listeners.add(changed))
    return () => {
      listeners.delete(changed)
      if (listeners.size === 0) this.#listeners.delete(key)
    }
  }

  #note(item: string): string {
    const owner = parseItemKey(item)?.key ?? ''
    const isShown = this.replica.get(item) !== undefined
    let items = this.#itemKeys.get(owner)
    if (isShown) {
      if (items === undefined) this.#itemKeys.set(owner, (items = new Set()))
      items.add(item)
    } else if (items?.delete(item) === true && items.size === 0) this.#itemKeys.delete(owner)
    return owner
  }
}

/** The application's handle on one set. */
export class SetHandle implements SyncSet<unknown, unknown> {
  readonly #kernel: Kernel
  readonly #items: SetItems
  readonly #key: string
  readonly #schema: StandardSchema
  readonly #ops: OpWriter
  readonly #source: Source<ReadonlySet<unknown>>

  constructor(kernel: Kernel, items: SetItems, key: string, schema: StandardSchema) {
    checkName(key, KEY_BYTES, 'The name of a set')
    this.#kernel = kernel
    this.#items = items
    this.#key = key
    this.#schema = schema
    this.#ops = new OpWriter(kernel, items.replica)
    this.#source = new Source(
      kernel.turn,
      (previous) => {
        const values = distinct(items.of(key).map(([, value]) => value))
        const isSame = previous?.size === values.length && [...previous].every((value, i) => value === values[i])
        return isSame ? previous : new Set(values)
      },
      () => items.listen(key, () => this.#source.changed()),
    )
  }

  get(): ReadonlySet<unknown> {
    this.#items.replica.publish()
    return this.#source.get()
  }

  subscribe(
    next: (value: ReadonlySet<unknown>) => void,
    options?: { signal?: AbortSignal; immediate?: boolean },
  ): Unsubscribe {
    return this.#source.subscribe(next, options)
  }

  [Symbol.asyncIterator](): AsyncIterator<ReadonlySet<unknown>> {
    return this.#source[Symbol.asyncIterator]()
  }

  has(value: unknown): boolean {
    return this.#equal(value).length > 0
  }

  add(input: unknown, options: WriteOptions = {}, handle?: LocalWrite): Write {
    const value = toValue(validate(this.#schema, input))
    const { millis, counter } = this.#kernel.data.clock.tick()
    // The id of a write is nobody else's; a stamp might be issued again once the clock has been set back.
    const tag = `${millis}:${counter}:${this.#kernel.newId()}`
    const item = itemKey(tag, this.#key)
    this.#ops.checkRoom(item)
    const { ttlMs } = { ...options }
    const draft = { type: 'PUT', tag, value, ...(ttlMs === undefined ? {} : { ttlMs }) } as const
    return this.#ops.write(item, options, draft, () => this.#remove([item], {}), handle)
  }

  delete(input: unknown, options: Pick<WriteOptions, 'concern'> = {}, handle?: LocalWrite): Write {
    const items = this.#equal(toValue(validate(this.#schema, input)))
    return this.#remove(items, options, handle)
  }

  #equal(value: unknown): string[] {
    return this.#items.of(this.#key).flatMap(([item, other]) => (valuesEqual(other, value as Value) ? [item] : []))
  }

  /** Removes items, by a write each. The last one stands for all: they are sent, taken and refused in this order. */
  #remove(items: readonly string[], options: Pick<WriteOptions, 'concern'>, handle?: LocalWrite): Write {
    const [value] = items.map((item) => this.#items.replica.get(item))
    const undo = (): Write => (value === undefined ? this.#remove([], {}) : this.add(value))
    this.#ops.checkRoom(this.#key)
    const last = items.at(-1)
    for (const item of items.slice(0, -1)) this.#ops.write(item, options, removal(item), undo)
    return this.#ops.write(last ?? this.#key, options, last === undefined ? undefined : removal(last), undo, handle)
  }
}

function removal(item: string): Draft {
  return { type: 'REMOVE', tag: parseItemKey(item)?.tag ?? '', value: null }
}

/** Values of which no two are equal, the first of each. */
function distinct(values: readonly Value[]): Value[] {
  const plain = new Set<Value>()
  const others: Value[] = []
  return values.filter((value) => {
    if (typeof value !== 'object') return !plain.has(value) && plain.add(value)
    const isNew = !others.some((other) => valuesEqual(other, value))
    if (isNew) others.push(value)
    return isNew
  })
}
