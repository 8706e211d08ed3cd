import { compileWhere, valuesEqual, type Matcher, type Value } from '@syncline/core'
import { queryTerms } from '@syncline/core/search'
import type { SearchOptions, SearchResp, SearchUpdate } from '@syncline/protocol/codec'
import { SynclineError, clientClosed } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { Replica } from '../../offline/replica.ts'
import { Source, waitFor, type Unsubscribe, type WaitOptions } from '../../readable.ts'
import { checkFields, checkLimit, type Query, type QueryState } from '../queries/handle.ts'
import type { Row } from '../queries/state.ts'
import type { SearchDefinition } from './handle.ts'
import { LocalSearch, type LocalMatch } from './local.ts'
import type { Wire } from './state.ts'

/** Most rows that a search gives. */
const MAX_ROWS = 1_000
/** After which a refused search is made again, where the server does not say. */
const RETRY_MS = 5_000

/** The application's handle on a search. */
export class LiveSearch implements Query<unknown> {
  readonly id: string
  readonly hash: string
  readonly #kernel: Kernel
  readonly #replica: Replica
  readonly #wire: Wire
  readonly #definition: SearchDefinition
  readonly #fulfils: Matcher | undefined
  readonly #source: Source<QueryState<unknown>>
  #limit = MAX_ROWS
  #fault: SynclineError | undefined
  /** What the server has found, while it keeps that up to date. */
  #foundByKey: Map<string, LocalMatch> | undefined
  #totalCount = 0
  #local: LocalSearch | undefined
  #isObserved = false
  #cancelStep: () => void = () => {}
  #cancelRetry: () => void = () => {}

  constructor(kernel: Kernel, replica: Replica, wire: Wire, id: string, definition: SearchDefinition) {
    this.#kernel = kernel
    this.#replica = replica
    this.#wire = wire
    this.id = id
    this.hash = definition.hash
    this.#definition = definition
    const { limit, where } = definition.spec
    try {
      checkSearch(definition)
      this.#limit = Math.min(limit || MAX_ROWS, MAX_ROWS)
      this.#fulfils = where && matcherOf(where)
    } catch (error) {
      this.#fault = error as SynclineError
    }
    this.#source = new Source(
      kernel.turn,
      (previous) => this.#state(previous),
      () => this.#observe(),
    )
  }

  get(): QueryState<unknown> {
    this.#replica.publish()
    return this.#source.get()
  }

  subscribe(
    next: (value: QueryState<unknown>) => void,
    options?: { signal?: AbortSignal; immediate?: boolean },
  ): Unsubscribe {
    return this.#source.subscribe(next, options)
  }

  [Symbol.asyncIterator](): AsyncIterator<QueryState<unknown>> {
    return this.#source[Symbol.asyncIterator]()
  }

  async once(options?: { from?: 'local' | 'server' } & WaitOptions): Promise<readonly Row<unknown>[]> {
    if (this.#fault !== undefined) throw this.#fault
    if (options?.from === 'server') return this.#ask(options)
    await this.#kernel.ready(options)
    const local = this.#newLocal()
    while (!local.countMore(() => 0));
    return this.#rowsOf(local.matches(this.#minScore, this.#fulfils).slice(0, this.#limit), new Map())
  }

  async loadMore(): Promise<void> {
    const { limit = MAX_ROWS } = this.#definition.spec
    this.#limit = Math.min(this.#limit + limit, MAX_ROWS)
    if (this.#isObserved) this.online()
    this.#source.changed()
  }

  /** The server has found rows, which it keeps up to date from now on. */
  found({ results, totalCount }: SearchResp['payload']): void {
    this.#foundByKey = new Map(results.map(({ key, value, score }) => [key, { key, value, score }]))
    this.#totalCount = totalCount
    this.#dropLocal()
    this.#source.changed()
  }

  /** A row has changed in what the server has found. */
  changed({ key, value, score, changeType, totalCount }: SearchUpdate['payload']): void {
    if (changeType === 'LEAVE') this.#foundByKey?.delete(key)
    else this.#foundByKey?.set(key, { key, value, score })
    if (totalCount !== undefined) this.#totalCount = totalCount
    this.#source.changed()
  }

  /** The server does not search, or not now. */
  refused(error: SynclineError): void {
    this.#foundByKey = undefined
    // What it does not search is searched here.
    if (error.retryable) {
      const { retryAfterMs = RETRY_MS } = (error.details ?? {}) as { readonly retryAfterMs?: number }
      this.#cancelRetry = this.#kernel.env.after(retryAfterMs, () => this.online())
    } else if (error.code !== 'NOT_ENABLED') this.#fault = error
    this.#source.changed()
  }

  /** A session has begun: the server is asked. */
  online(): void {
    const { text, spec } = this.#definition
    this.#cancelRetry()
    if (!this.#isObserved) return
    const payload = { subscriptionId: this.id, mapName: this.#replica.name, query: text, options: this.#options(spec) }
    this.#wire.subscribe(this, { type: 'SEARCH_SUB', payload })
  }

  /** The session is over: what is here is searched. */
  offline(): void {
    this.#cancelRetry()
    this.#foundByKey = undefined
    // Another session may have other rights, and other searches.
    if (this.#fault?.code === 'FORBIDDEN' || this.#fault?.code === 'LIMIT_EXCEEDED') this.#fault = undefined
    this.#source.changed()
  }

  #options({ fields, minScore, where }: SearchDefinition['spec']): SearchOptions {
    return {
      prefix: true,
      limit: this.#limit,
      ...(fields === undefined ? {} : { fields }),
      ...(minScore === undefined ? {} : { minScore }),
      ...(where === undefined ? {} : { where }),
    }
  }

  #ask(options: WaitOptions): Promise<readonly Row<unknown>[]> {
    const { text, spec } = this.#definition
    const { env, turn, hasServer } = this.#kernel
    const onTimeout = (): Error => new SynclineError('TIMEOUT', 'The server did not answer in time.')
    return waitFor(env, options, onTimeout, (resolve, reject) => {
      const closed = (): void => reject(clientClosed())
      if (turn.isClosed) closed()
      else if (!hasServer) reject(new SynclineError('OFFLINE', 'This client has no server: give it a url.'))
      const takeBack = this.#wire.ask({
        message: (requestId) => ({
          type: 'SEARCH',
          payload: { requestId, mapName: this.#replica.name, query: text, options: this.#options(spec) },
        }),
        resolve: ({ results }) =>
          resolve(results.map(({ key, value, score }) => ({ key, value, sync: 'synced' as const, score }))),
        reject,
      })
      const stop = turn.onClose(closed)
      return () => {
        stop()
        takeBack()
      }
    })
  }

  #observe(): () => void {
    const { listeners } = this.#replica
    const listen = (keys: ReadonlySet<string>): void => {
      this.#local?.update(keys)
      this.#source.changed()
    }
    listeners.add(listen)
    this.#isObserved = true
    this.online()
    return () => {
      this.#isObserved = false
      listeners.delete(listen)
      this.#cancelRetry()
      this.#wire.unsubscribe(this)
      this.#foundByKey = undefined
      this.#dropLocal()
    }
  }

  get #minScore(): number {
    return this.#definition.spec.minScore ?? 0
  }

  #newLocal(): LocalSearch {
    const { text, spec, fields } = this.#definition
    const columns = spec.fields === undefined ? [fields] : spec.fields.map((field) => [field])
    return new LocalSearch(this.#replica, queryTerms(text, true), columns)
  }

  #dropLocal(): void {
    this.#cancelStep()
    this.#local = undefined
  }

  /** What is here, as far as it has been looked at. The rest is looked at a few milliseconds at a time. */
  #searchedHere(): LocalSearch {
    const { env } = this.#kernel
    // Whoever only asks now and then is told what is here then.
    const local = this.#isObserved ? (this.#local ??= this.#newLocal()) : this.#newLocal()
    if (local.isWhole) return local
    const step = (): void => {
      if (!local.countMore(() => env.monotonic())) this.#cancelStep = env.after(0, step)
      this.#source.changed()
    }
    if (this.#isObserved) {
      this.#cancelStep()
      if (!local.countMore(() => env.monotonic())) this.#cancelStep = env.after(0, step)
    } else while (!local.countMore(() => 0));
    return local
  }

  #state(previous: QueryState<unknown> | undefined): QueryState<unknown> {
    const { isReady } = this.#kernel.data
    const error = this.#fault ?? this.#replica.fault
    const before = new Map(previous?.rows.map((row) => [row.key, row]))
    const isLive = this.#foundByKey !== undefined && error === undefined
    let matches: readonly LocalMatch[] = []
    let isWhole = true
    let total = 0
    if (isLive) {
      matches = [...(this.#foundByKey as Map<string, LocalMatch>).values()].sort(
        (a, b) => b.score - a.score || (a.key < b.key ? -1 : 1),
      )
      total = this.#totalCount
    } else if (isReady && error === undefined) {
      const local = this.#searchedHere()
      matches = local.matches(this.#minScore, this.#fulfils)
      isWhole = local.isWhole
      total = matches.length
    }
    const rows = this.#rowsOf(matches.slice(0, this.#limit), before)
    const isSame = previous?.rows.length === rows.length && rows.every((row, i) => row === previous.rows[i])
    const { base } = this.#replica
    const state: QueryState<unknown> = {
      rows: isSame ? previous.rows : rows,
      status: error !== undefined ? 'error' : isLive ? 'live' : isReady && isWhole ? 'local' : 'loading',
      complete: isLive || (isWhole && (base.complete || base.wasComplete)),
      hasMore: total > this.#limit,
      ...(error === undefined ? {} : { error }),
    }
    const names = ['status', 'complete', 'hasMore', 'error'] as const
    return isSame && names.every((name) => previous[name] === state[name]) ? previous : state
  }

  /** Rows of matches. What this client has written and the server not confirmed shows as it was written. */
  #rowsOf(matches: readonly LocalMatch[], before: ReadonlyMap<string, Row<unknown>>): Row<unknown>[] {
    const rows: Row<unknown>[] = []
    for (const { key, value: found, score } of matches) {
      const sync = this.#replica.syncOf(key)
      const value = sync === 'synced' ? found : this.#replica.get(key)
      if (value === undefined) continue
      const old = before.get(key)
      const isSame =
        old !== undefined && old.sync === sync && old.score === score && valuesEqual(old.value as Value, value)
      rows.push(isSame ? old : { key, value, sync, score })
    }
    return rows
  }
}

/** Throws BAD_QUERY where a search cannot be meant, wherever it is searched. */
function checkSearch({ text, spec: { limit, minScore = 0, fields } }: SearchDefinition): void {
  checkLimit(limit)
  checkFields(fields, 'fields')
  if (typeof text !== 'string' || typeof minScore !== 'number' || !(minScore >= 0) || fields?.length === 0)
    throw new SynclineError('BAD_QUERY', 'A search is a text; minScore is not negative, and fields not empty.')
}

function matcherOf(where: NonNullable<SearchDefinition['spec']['where']>): Matcher {
  const compiled = compileWhere(where)
  if (compiled.ok) return compiled.value
  throw new SynclineError(compiled.error.code, compiled.error.message)
}
