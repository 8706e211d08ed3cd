import { copyValue, isMap, sortedNames, valuesEqual, type QuerySpec as CoreQuerySpec, type Value } from '@syncline/core'
import { encodeValueJson } from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { Replica } from '../../offline/replica.ts'
import { Source, type Readable, type Unsubscribe, type WaitOptions } from '../../readable.ts'
import type { Question } from './index.ts'
import { placeAfter } from './place.ts'
import { ResultSet, type Row } from './state.ts'

type Condition<V> =
  | V
  | {
      $eq?: V
      $ne?: V
      $gt?: V
      $gte?: V
      $lt?: V
      $lte?: V
      $in?: readonly V[]
      $nin?: readonly V[]
      $exists?: boolean
      $contains?: V extends readonly (infer Item)[] ? Item : V extends string ? string : never
    }

/** How deep paths are spelled out in types. Deeper ones work all the same. */
type Depth = readonly [0, 0, 0, 0]

/** The fields inside the fields of a record, as `place.city`. Lists and bytes have none. */
export type FieldPath<T, D extends readonly unknown[] = Depth> = D extends readonly [unknown, ...infer Rest]
  ? {
      [K in keyof T & string]: NonNullable<T[K]> extends infer V
        ? V extends object
          ? V extends readonly unknown[] | Uint8Array
            ? never
            : `${K}.${(keyof V & string) | FieldPath<V, Rest>}`
          : never
        : never
    }[keyof T & string]
  : never

type ValueAt<T, P extends string> = P extends `${infer K}.${infer Rest}`
  ? K extends keyof T
    ? ValueAt<NonNullable<T[K]>, Rest>
    : never
  : P extends keyof T
    ? NonNullable<T[P]>
    : never

/**
 * What a record must look like: a value or condition for each field, all of which must hold. A field inside a field is
 * named by its path, as `place.city`.
 */
export type Where<T> =
  | ({ [K in keyof T]?: Condition<T[K]> } & { [P in FieldPath<T>]?: Condition<ValueAt<T, P>> })
  | { $and: readonly Where<T>[] }
  | { $or: readonly Where<T>[] }
  | { $not: Where<T> }

/** A query over one map. */
export interface QuerySpec<T> {
  readonly where?: Where<T>
  /** Fields, or paths of them, to sort by, the most significant first. Ties, and queries without it, are in the order of keys. */
  readonly orderBy?: readonly (readonly [(keyof T & string) | FieldPath<T>, 'asc' | 'desc'])[]
  /** Most rows to give; `loadMore` adds as many again. Without it, or with 0, all. */
  readonly limit?: number
  /** The place where the rows begin: `nextCursor` of a query with the same `orderBy`. It stands whatever is written meanwhile. */
  readonly after?: string
  /** The only top-level fields that rows are given with. The query is judged and ordered by all. */
  readonly select?: readonly (keyof T & string)[]
}

/** A query's result at one moment. */
export interface QueryState<T> {
  readonly rows: readonly Row<T>[]
  /**
   * 'loading': local data is not loaded yet. 'local': this is what this client has. 'live': it keeps up with the server.
   * 'error': the query is wrong, or the map may not be read.
   */
  readonly status: 'loading' | 'local' | 'live' | 'error'
  /** The whole map has been received at some time: what is missing here was missing there. */
  readonly complete: boolean
  /** There are more rows than `limit`. */
  readonly hasMore: boolean
  /** Where `hasMore`, the place after the last row: another query that has it as `after` goes on there. */
  readonly nextCursor?: string
  readonly error?: SynclineError
}

/** A live query: its result, kept up to date from local data. */
export interface Query<T> extends Readable<QueryState<T>> {
  /** The same for queries that ask for the same. */
  readonly hash: string
  /**
   * The rows once: as they are here when local data is loaded, or as the server has them. Rejects with BAD_QUERY,
   * TIMEOUT, OFFLINE (a client without a server), CLOSED, the server's refusal or the signal's reason.
   */
  once(options?: { from?: 'local' | 'server' } & WaitOptions): Promise<readonly Row<T>[]>
  loadMore(): Promise<void>
}

/** Asks the server for the result of a query. */
export type AskServer = (question: Question) => Promise<readonly Row<unknown>[]>

/** The application's handle on a live query. */
export class LiveQuery<T> implements Query<T> {
  readonly hash: string
  readonly #kernel: Kernel
  readonly #replica: Replica
  readonly #spec: CoreQuerySpec
  readonly #ask: AskServer
  readonly #results: ResultSet | undefined
  readonly #fault: SynclineError | undefined
  readonly #source: Source<QueryState<T>>
  #limit = Infinity
  readonly #after: string | undefined
  readonly #fields: readonly string[] | undefined
  readonly #selected: Selection | undefined
  #isObserved = false

  constructor(
    kernel: Kernel,
    replica: Replica,
    { where, orderBy = [], limit, after, select }: QuerySpec<T>,
    ask: AskServer,
  ) {
    this.#kernel = kernel
    this.#replica = replica
    this.#ask = ask
    this.#spec = {
      ...(where === undefined ? {} : { where }),
      ...(isOrder(orderBy) && orderBy.length > 0 ? { sort: Object.fromEntries(orderBy) } : {}),
      ...(limit === undefined ? {} : { limit }),
    }
    this.#after = after
    this.#fields = select
    this.hash = `${replica.name}:${hashOf([where ?? {}, orderBy, limit || 0, after ?? null, select ?? null])}`
    try {
      if (!isOrder(orderBy)) throw new SynclineError('BAD_QUERY', "orderBy is a list of [field, 'asc' or 'desc'].")
      checkFields(select, 'select')
      this.#selected = select && new Selection(select)
      checkLimit(limit)
      this.#limit = limit || Infinity
      this.#results = new ResultSet(replica, this.#spec, after)
    } catch (error) {
      this.#fault = error as SynclineError
    }
    this.#source = new Source(
      kernel.turn,
      (previous) => this.#state(previous),
      () => this.#observe(),
    )
  }

  get(): QueryState<T> {
    // What has changed in this turn is told at its end; whoever asks before is told now.
    this.#replica.publish()
    return this.#source.get()
  }

  subscribe(
    next: (value: QueryState<T>) => void,
    options?: { signal?: AbortSignal; immediate?: boolean },
  ): Unsubscribe {
    return this.#source.subscribe(next, options)
  }

  [Symbol.asyncIterator](): AsyncIterator<QueryState<T>> {
    return this.#source[Symbol.asyncIterator]()
  }

  async once(options?: { from?: 'local' | 'server' } & WaitOptions): Promise<readonly Row<T>[]> {
    if (this.#fault !== undefined) throw this.#fault
    if (options?.from === 'server') {
      const question = { query: this.#spec, after: this.#after, select: this.#fields, ...options }
      return (await this.#ask(question)) as readonly Row<T>[]
    }
    await this.#kernel.ready(options)
    return this.get().rows
  }

  async loadMore(): Promise<void> {
    this.#limit += this.#spec.limit ?? 0
    this.#source.changed()
  }

  #observe(): () => void {
    const { listeners } = this.#replica
    const listen = (keys: ReadonlySet<string>): void => {
      this.#results?.update(keys)
      this.#source.changed()
    }
    listeners.add(listen)
    this.#results?.rebuild()
    this.#isObserved = true
    return () => {
      this.#isObserved = false
      listeners.delete(listen)
    }
  }

  #state(previous: QueryState<T> | undefined): QueryState<T> {
    if (!this.#isObserved) this.#results?.rebuild()
    const { base, link, fault } = this.#replica
    const error = this.#fault ?? fault
    const all = (this.#results?.rows ?? []) as Row<T>[]
    const page = all.slice(0, this.#limit)
    const shown = (this.#selected?.of(page) as Row<T>[] | undefined) ?? page
    const last = all.length > this.#limit ? page.at(-1) : undefined
    const isSame = previous?.rows.length === shown.length && shown.every((row, i) => row === previous.rows[i])
    const state: QueryState<T> = {
      rows: isSame ? previous.rows : shown,
      status: error ? 'error' : !this.#kernel.data.isReady ? 'loading' : link === 'live' ? 'live' : 'local',
      complete: base.complete || base.wasComplete,
      hasMore: all.length > this.#limit,
      ...(last === undefined ? {} : { nextCursor: placeAfter(this.#spec, last.key, last.value as Value) }),
      ...(error === undefined ? {} : { error }),
    }
    return isSame &&
      (['status', 'complete', 'hasMore', 'nextCursor', 'error'] as const).every(
        (name) => previous[name] === state[name],
      )
      ? previous
      : state
  }
}

function isOrder(orderBy: unknown): boolean {
  return (
    Array.isArray(orderBy) &&
    orderBy.every((each: unknown) => Array.isArray(each) && (each[1] === 'asc' || each[1] === 'desc'))
  )
}

/** Throws BAD_QUERY where a number of rows is none. */
export function checkLimit(limit: number | undefined): void {
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0))
    throw new SynclineError('BAD_QUERY', 'limit is a whole number of rows; 0 is all.')
}

/** Throws BAD_QUERY where a list of fields is none. */
export function checkFields(fields: unknown, what: string): void {
  if (fields !== undefined && !(Array.isArray(fields) && fields.every((name) => typeof name === 'string')))
    throw new SynclineError('BAD_QUERY', `${what} is a list of fields.`)
}

/** Rows with no other fields than some. A row is the same object for as long as these are the same. */
export class Selection {
  readonly #names: readonly string[]
  #given = new Map<string, { readonly from: Row<unknown>; readonly row: Row<unknown> }>()

  constructor(names: readonly string[]) {
    this.#names = names
  }

  of(rows: readonly Row<unknown>[]): readonly Row<unknown>[] {
    const before = this.#given
    this.#given = new Map()
    return rows.map((from) => {
      const { key, sync } = from
      const value = this.#pick(from.value as Value)
      const old = before.get(key)
      const isSame = old !== undefined && old.row.sync === sync && valuesEqual(old.row.value as Value, value)
      const row = old?.from === from || isSame ? old.row : { key, value, sync }
      this.#given.set(key, { from, row })
      return row
    })
  }

  #pick(value: Value): Value {
    if (!isMap(value)) return value
    return Object.fromEntries(
      this.#names.flatMap((name) => (Object.hasOwn(value, name) ? [[name, value[name] as Value] as const] : [])),
    )
  }
}

/** Deeper than any query that compiles. */
const MAX_HASHED_DEPTH = 128

/** The same text for what differs only in the order of names. */
export function hashOf(parts: readonly unknown[]): string {
  const copy = copyValue(parts, MAX_HASHED_DEPTH)
  return 'value' in copy ? encodeValueJson(sorted(copy.value)) : ''
}

function sorted(value: Value): Value {
  if (Array.isArray(value)) return value.map(sorted)
  return isMap(value)
    ? Object.fromEntries(sortedNames(value).map((name) => [name, sorted(value[name] as Value)]))
    : value
}
