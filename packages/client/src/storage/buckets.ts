import { decodeServerJson, encodeValueJson, type CodecFault } from '@syncline/protocol/codec'
import type { Result, Value } from '@syncline/core'

/** So many for each map: few enough for 100,000 rows to be read and written at once, and small ones to be rewritten. */
const BUCKETS = 1_021

/** So many are read at once, so that neither their text nor reading it takes too much in one piece. */
const PORTION = 64

/** Rows that lie together. */
interface Bucket {
  readonly rows: Promise<Map<string, unknown>>
  /** What is to be put when the rows are here; `undefined` to take a row out. */
  readonly changes: Map<string, unknown>
  /** Its map was cleared since: what was to be changed is gone. */
  isGone: boolean
}

/**
 * The rows of one store within a transaction. Many lie in one row of the database, as text: browsers take fifty times
 * as long for each row on its own.
 */
export class Buckets {
  readonly #store: IDBObjectStore
  readonly #fail: (error: unknown) => void
  readonly #byMap = new Map<string, Map<number, Bucket>>()

  /** `fail` ends the transaction. */
  constructor(store: IDBObjectStore, fail: (error: unknown) => void) {
    this.#store = store
    this.#fail = fail
  }

  async get(first: string, second: string): Promise<unknown> {
    return (await this.#bucket(first, numberOf(second)).rows).get(second)
  }

  /** Gives all rows, or those of one map. */
  async entries(range: IDBKeyRange | undefined): Promise<(readonly [readonly [string, string], unknown])[]> {
    // What is to be put has been when its bucket is here.
    for (const buckets of this.#byMap.values()) for (const { rows } of buckets.values()) await rows
    const found: (readonly [readonly [string, string], unknown])[] = []
    for (let rest = range; ;) {
      const [keys, texts] = await Promise.all([
        done(this.#store.getAllKeys(rest, PORTION)),
        done(this.#store.getAll(rest, PORTION)),
      ])
      for (const [i, key] of keys.entries()) {
        const [first] = key as [string, number]
        for (const [second, value] of rowsOf(texts[i])) found.push([[first, second], value])
      }
      if (keys.length < PORTION) return found
      // An array sorts after every text.
      rest = IDBKeyRange.bound(keys.at(-1), range?.upper ?? [[]], true)
    }
  }

  /** Puts a row, or takes it out where there is no value. */
  put(first: string, second: string, value: unknown): void {
    const number = numberOf(second)
    const bucket = this.#bucket(first, number)
    const { rows, changes } = bucket
    if (changes.size === 0) rows.then((loaded) => this.#write([first, number], bucket, loaded)).catch(this.#fail)
    changes.set(second, value)
  }

  /** Makes the changes of a bucket. Whoever asks for its rows after them sees them. */
  #write(key: IDBValidKey, { changes, isGone }: Bucket, rows: Map<string, unknown>): void {
    for (const [second, value] of changes) {
      if (value === undefined) rows.delete(second)
      else rows.set(second, value)
    }
    changes.clear()
    if (isGone) return
    if (rows.size === 0) this.#store.delete(key)
    else this.#store.put(encodeValueJson([...rows] as unknown as Value), key)
  }

  /** Deletes all rows of one map. */
  clear(first: string, range: IDBKeyRange): void {
    this.#store.delete(range)
    for (const bucket of this.#byMap.get(first)?.values() ?? []) bucket.isGone = true
    this.#byMap.delete(first)
  }

  #bucket(first: string, number: number): Bucket {
    let buckets = this.#byMap.get(first)
    if (buckets === undefined) this.#byMap.set(first, (buckets = new Map()))
    let bucket = buckets.get(number)
    if (bucket === undefined) {
      const rows = done(this.#store.get([first, number])).then(rowsOf)
      buckets.set(number, (bucket = { rows, changes: new Map(), isGone: false }))
    }
    return bucket
  }
}

/** The result of a request. */
export function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result))
    request.addEventListener('error', () => reject(request.error))
  })
}

function rowsOf(text: unknown): Map<string, unknown> {
  if (text === undefined) return new Map()
  const decoded = decodeServerJson(text as string) as Result<[string, unknown][], CodecFault>
  if (!decoded.ok) throw new Error(`The storage is damaged: ${decoded.error.message}`)
  return new Map(decoded.value)
}

function numberOf(key: string): number {
  let hash = 0
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0
  return (hash >>> 0) % BUCKETS
}
