import { valuesEqual, type Value } from '@syncline/core'
import type { Kernel } from '../../feature.ts'
import type { Replica } from '../../offline/replica.ts'
import type { Write } from '../../offline/write.ts'
import { Source, type Readable, type Unsubscribe } from '../../readable.ts'
import type { HistoryEntry, HistoryOptions } from '../journal/index.ts'
import type { Query, QuerySpec } from '../queries/handle.ts'
import type { SearchSpec } from '../search/handle.ts'
import type { WriteOptions } from '../../offline/op-writer.ts'
import type { MapWriter } from './state.ts'

/** A write of this client that lost something to another writer. `undefined` stands for an absent record. */
export interface ConflictEvent<T> {
  readonly key: string
  /** What this client had written. */
  readonly local: T | undefined
  /** What the other writer made of the record. */
  readonly remote: T | undefined
  /** What the record is now; `undefined` where the other writer removed it, or it was deleted and forgotten. */
  readonly winner: T | undefined
  /** The fields whose values were lost; none where whole values that are no maps collided. */
  readonly fields: readonly (keyof T & string)[]
}

/** A map of records. Values are shared and must not be changed; `update` hands out a copy to change. */
export interface SyncMap<I, T> extends Iterable<[string, T]> {
  get(key: string): T | undefined
  has(key: string): boolean
  readonly size: number
  /** Writes a whole record. Throws VALIDATION_ERROR, BAD_VALUE, BAD_KEY, TOO_LARGE, TOO_DEEP, BACKPRESSURE or CLOSED. */
  set(key: string, value: I, options?: WriteOptions): Write
  /** Writes the top-level fields that the recipe changes, and no others. Throws NOT_FOUND where there is no record. */
  update(key: string, recipe: (draft: T) => void | T, options?: Omit<WriteOptions, 'ttlMs'>): Write
  delete(key: string, options?: Omit<WriteOptions, 'ttlMs'>): Write
  /** One key's value, as it changes. */
  watch(key: string): Readable<T | undefined>
  /** A live query over this map. */
  query<const S extends keyof T & string>(spec: QuerySpec<T> & { readonly select: readonly S[] }): Query<Pick<T, S>>
  query(spec?: QuerySpec<T>): Query<T>
  /**
   * A live search over this map: the rows that a text describes best, the best first, each with its `score`. The last word
   * may be the beginning of one. The server answers where it searches the map ('live'); otherwise what is here is searched
   * ('local').
   */
  search(text: string, spec?: SearchSpec<T>): Query<T>
  /**
   * The latest changes of one key that the server keeps, the newest first: 100 unless `limit` says otherwise. Rejects with
   * NOT_ENABLED where it keeps none, FORBIDDEN, OFFLINE (a client without a server), TIMEOUT, CLOSED or the signal's reason.
   */
  history(key: string, options?: HistoryOptions): Promise<readonly HistoryEntry<T>[]>
  onConflict(callback: (event: ConflictEvent<T>) => void): Unsubscribe
}

/** What a map handle is made of. */
export interface MapParts<T> {
  readonly kernel: Kernel
  readonly replica: Replica
  readonly writer: MapWriter
  query(spec: QuerySpec<T>): Query<T>
  search(text: string, spec: SearchSpec<T>): Query<T>
  history(key: string, options: HistoryOptions): Promise<readonly HistoryEntry<T>[]>
  onConflict(callback: (event: ConflictEvent<T>) => void): Unsubscribe
}

/** The application's handle on one map. */
export class MapHandle<I, T> implements SyncMap<I, T> {
  readonly #parts: MapParts<T>

  constructor(parts: MapParts<T>) {
    this.#parts = parts
  }

  get(key: string): T | undefined {
    return this.#parts.replica.get(key) as T | undefined
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  get size(): number {
    return this.#parts.replica.size
  }

  [Symbol.iterator](): Iterator<[string, T]> {
    return this.#parts.replica.entries() as IterableIterator<[string, T]>
  }

  set(key: string, value: I, options: WriteOptions = {}): Write {
    return this.#parts.writer.put(key, value, options)
  }

  update(key: string, recipe: (draft: T) => void | T, options: Omit<WriteOptions, 'ttlMs'> = {}): Write {
    return this.#parts.writer.update(key, recipe as (draft: unknown) => unknown, options)
  }

  delete(key: string, options: Omit<WriteOptions, 'ttlMs'> = {}): Write {
    return this.#parts.writer.remove(key, options)
  }

  watch(key: string): Readable<T | undefined> {
    const { kernel, replica } = this.#parts
    const source: Source<T | undefined> = new Source(
      kernel.turn,
      (previous) => {
        const value = replica.get(key)
        return (previous !== undefined && valuesEqual(previous as Value, value) ? previous : value) as T | undefined
      },
      (): (() => void) => replica.watch(key, () => source.changed()),
    )
    return source
  }

  query<const S extends keyof T & string>(spec: QuerySpec<T> & { readonly select: readonly S[] }): Query<Pick<T, S>>
  query(spec?: QuerySpec<T>): Query<T>
  query(spec?: QuerySpec<T>): Query<T> {
    return this.#parts.query({ ...spec })
  }

  search(text: string, spec?: SearchSpec<T>): Query<T> {
    return this.#parts.search(text, { ...spec })
  }

  history(key: string, options: HistoryOptions = {}): Promise<readonly HistoryEntry<T>[]> {
    return this.#parts.history(key, options)
  }

  onConflict(callback: (event: ConflictEvent<T>) => void): Unsubscribe {
    return this.#parts.onConflict(callback)
  }
}
