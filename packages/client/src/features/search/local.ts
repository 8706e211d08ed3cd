import { isMap, type Matcher, type Value } from '@syncline/core'
import {
  inverseDocumentFrequency,
  isQueryTerm,
  searchTerms,
  searchedText,
  termSaturation,
  type QueryTerm,
} from '@syncline/core/search'
import type { Replica } from '../../offline/replica.ts'

/** What a document has of what is looked for, by column. */
interface Counted {
  /** Its terms. */
  readonly lengths: readonly number[]
  /** How often it holds each term of the query. Undefined where it holds none. */
  readonly frequencies: readonly (readonly number[])[] | undefined
}

/** A document that answers a query. */
export interface LocalMatch {
  readonly key: string
  readonly value: Value
  readonly score: number
}

/** Milliseconds after which the rest of a map is looked at later. */
const SLICE_MS = 8
/** Documents between two looks at the clock. */
const DOCUMENTS_PER_LOOK = 32

/**
 * One search over what this client has of a map, by the rules of `@syncline/core/search`. It counts each document once, and
 * those that change once more; it keeps no index.
 */
export class LocalSearch {
  readonly #replica: Replica
  readonly #terms: readonly QueryTerm[]
  /** Each field by itself, or all as one; without fields all texts that a value has. */
  readonly #columns: readonly (readonly string[] | undefined)[]
  readonly #countedByKey = new Map<string, Counted>()
  readonly #matching = new Set<string>()
  readonly #lengths: number[]
  /** How many documents hold each term, by column. */
  readonly #holding: number[][]
  #left: Iterator<[string, Value]> | undefined
  isWhole = false

  constructor(replica: Replica, terms: readonly QueryTerm[], columns: readonly (readonly string[] | undefined)[]) {
    this.#replica = replica
    this.#terms = terms
    this.#columns = columns
    this.#lengths = columns.map(() => 0)
    this.#holding = columns.map(() => terms.map(() => 0))
  }

  /** Looks at more of the map, for a few milliseconds. True when all of it has been looked at. */
  countMore(now: () => number): boolean {
    this.#left ??= this.#replica.entries()
    const startedAt = now()
    for (let count = 1; !this.isWhole; count++) {
      const next = this.#left.next()
      if (next.done === true) this.isWhole = true
      else if (!this.#countedByKey.has(next.value[0])) this.#count(...next.value)
      if (count % DOCUMENTS_PER_LOOK === 0 && now() - startedAt >= SLICE_MS) break
    }
    return this.isWhole
  }

  /** Looks at some keys again. */
  update(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#discount(key)
      const value = this.#replica.get(key)
      if (value !== undefined) this.#count(key, value)
    }
  }

  /** The documents that answer the query, the best first. */
  matches(minScore: number, fulfils: Matcher | undefined): LocalMatch[] {
    const documents = this.#countedByKey.size
    const weights = this.#holding.map((holding) => holding.map((n) => inverseDocumentFrequency(documents, n)))
    const matches: LocalMatch[] = []
    for (const key of this.#matching) {
      const { lengths, frequencies } = this.#countedByKey.get(key) as Counted
      let score = 0
      for (const [column, ofColumn] of (frequencies as readonly number[][]).entries()) {
        const average = (this.#lengths[column] as number) / documents
        for (const [i, frequency] of ofColumn.entries()) {
          if (frequency === 0) continue
          score += (weights[column]?.[i] as number) * termSaturation(frequency, lengths[column] as number, average)
        }
      }
      const value = this.#replica.get(key)
      if (score < minScore || value === undefined || fulfils?.(value) === false) continue
      matches.push({ key, value, score })
    }
    return matches.sort(byScore)
  }

  #count(key: string, value: Value): void {
    if (!isMap(value)) return
    const texts = this.#columns.map((fields) => searchTerms(searchedText(value, fields ?? Object.keys(value).sort())))
    const frequencies = texts.map((words) =>
      this.#terms.map((term) => words.reduce((n, word) => (isQueryTerm(term, word) ? n + 1 : n), 0)),
    )
    const isMatch = frequencies.some((ofColumn) => ofColumn.some((n) => n > 0))
    const counted = { lengths: texts.map(({ length }) => length), frequencies: isMatch ? frequencies : undefined }
    this.#countedByKey.set(key, counted)
    if (isMatch) this.#matching.add(key)
    this.#add(counted, 1)
  }

  #discount(key: string): void {
    const counted = this.#countedByKey.get(key)
    if (counted === undefined) return
    this.#countedByKey.delete(key)
    this.#matching.delete(key)
    this.#add(counted, -1)
  }

  #add({ lengths, frequencies }: Counted, sign: 1 | -1): void {
    for (const [column, length] of lengths.entries()) {
      this.#lengths[column] = (this.#lengths[column] as number) + sign * length
      const holding = this.#holding[column] as number[]
      for (const [i, frequency] of frequencies?.[column]?.entries() ?? []) {
        if (frequency > 0) holding[i] = (holding[i] as number) + sign
      }
    }
  }
}

function byScore(a: LocalMatch, b: LocalMatch): number {
  return b.score - a.score || (a.key < b.key ? -1 : 1)
}
