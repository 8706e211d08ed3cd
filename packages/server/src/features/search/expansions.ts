import { isQueryTerm, type QueryTerm } from '@syncline/core/search'
import type { Postings, Run } from './postings.ts'
import type { TermDictionary } from './term-dictionary.ts'

/** Postings that are joined in one step, and ids of one term that are. */
const POSTINGS_PER_STEP = 32_768
/** As many postings as finding another term costs. */
const TERM_COST = 64
/** Expansions of fewer postings are made anew each time. */
const KEPT_FROM = 16_384
/** Expansions that are kept. Each takes 4 bytes a document. */
const MAX_KEPT = 16

/**
 * What a word stands for that is being typed: how often documents hold any of its terms in a column, by id. It is told of
 * changed documents, also while it is made.
 */
export class Expansion {
  readonly column: number
  readonly term: QueryTerm
  /** Postings that it was made of. */
  joined = 0
  /** Documents that hold any. */
  size = 0
  /** A list until it is kept: what lies outside of the heap is given back by great collections of garbage alone. */
  #frequencies: number[] | Uint32Array = []
  /** What has changed while it is made. */
  #late: Map<number, number> | undefined = new Map()

  constructor(column: number, term: QueryTerm) {
    this.column = column
    this.term = term
  }

  /** There is more than one term. What has changed since it was begun is known. */
  begin(endId: number): void {
    this.#frequencies = Array<number>(endId).fill(0)
  }

  /** Adds the documents that hold a term, in steps if they may be many. */
  *add(postings: Postings): Generator<void, void> {
    const endId = this.#frequencies.length
    const share = postings.size > POSTINGS_PER_STEP ? POSTINGS_PER_STEP : endId
    this.joined += postings.size
    for (let from = 0; from < endId; from += share) {
      this.size += postings.addTo(this.#frequencies, from, Math.min(from + share, endId))
      if (share < endId) yield
    }
  }

  /** It is made. */
  end(): void {
    const late = this.#late ?? []
    this.#late = undefined
    for (const [id, frequency] of late) this.#set(id, frequency)
  }

  /** It is kept, and takes half as much from now on. */
  pack(): void {
    this.#frequencies = Uint32Array.from(this.#frequencies)
  }

  /** A document has come, with its words, or is gone. */
  change(id: number, words: readonly string[]): void {
    let frequency = 0
    for (const word of words) if (isQueryTerm(this.term, word)) frequency++
    if (this.#late === undefined) this.#set(id, frequency)
    else this.#late.set(id, frequency)
  }

  /** As that of postings. */
  read(from: number, to: number, { places, frequencies }: Run): number {
    let count = 0
    const end = Math.min(to, this.#frequencies.length)
    for (let id = from; id < end; id++) {
      const frequency = this.#frequencies[id] as number
      if (frequency === 0) continue
      places[count] = id - from
      frequencies[count++] = frequency
    }
    return count
  }

  #set(id: number, frequency: number): void {
    if (id >= this.#frequencies.length) {
      const longer = new Uint32Array(Math.ceil(id * 1.25) + 64)
      longer.set(this.#frequencies)
      this.#frequencies = longer
    }
    this.size += Number(frequency > 0) - Number((this.#frequencies[id] as number) > 0)
    this.#frequencies[id] = frequency
  }
}

/** Who holds any of the terms that a word stands for: undefined where nobody does. */
interface Expanded {
  readonly postings: Expansion | Postings | undefined
  /** Postings that were joined for it. */
  readonly joined: number
}

/**
 * What words stand for that are being typed. What costs most to find out is kept, and follows the documents: the first two
 * letters of many words are the first two of thousands of terms, and are typed again and again.
 */
export class Expansions {
  readonly #dictionary: TermDictionary
  /** The one that was asked for longest ago first. */
  readonly #keptByKey = new Map<string, Expansion>()
  readonly #underWay = new Set<Expansion>()

  constructor(dictionary: TermDictionary) {
    this.#dictionary = dictionary
  }

  /** Who holds any of the terms in a column, and how many postings were looked at to find out. In steps. */
  *of(column: number, term: QueryTerm, endId: number): Generator<void, Expanded> {
    const key = `${column} ${term.prefix}`
    const kept = this.#keptByKey.get(key)
    if (kept !== undefined) {
      this.#keep(key, kept)
      return { postings: kept, joined: 0 }
    }
    let only: Postings | undefined
    let isOne = true
    // It is told from now on also of terms that have been passed because nobody held them.
    const expansion = new Expansion(column, term)
    this.#underWay.add(expansion)
    try {
      let owed = 0
      for (const postings of this.#dictionary.holding(term, column)) {
        owed += TERM_COST + (postings?.size ?? 0)
        if (postings !== undefined && only === undefined) only = postings
        else if (postings !== undefined) {
          if (isOne) {
            isOne = false
            expansion.begin(endId)
            yield* expansion.add(only as Postings)
          }
          yield* expansion.add(postings)
        }
        if (owed < POSTINGS_PER_STEP) continue
        owed = 0
        yield
      }
      expansion.end()
    } finally {
      this.#underWay.delete(expansion)
    }
    if (isOne) return { postings: only, joined: 0 }
    const { joined } = expansion
    if (joined >= KEPT_FROM) {
      expansion.pack()
      this.#keep(key, expansion)
    }
    return { postings: expansion, joined }
  }

  /** A document has come, with the words of a column, or is gone. */
  change(id: number, column: number, words: readonly string[]): void {
    for (const expansion of this.#keptByKey.values()) if (expansion.column === column) expansion.change(id, words)
    for (const expansion of this.#underWay) if (expansion.column === column) expansion.change(id, words)
  }

  #keep(key: string, expansion: Expansion): void {
    this.#keptByKey.delete(key)
    this.#keptByKey.set(key, expansion)
    if (this.#keptByKey.size > MAX_KEPT) this.#keptByKey.delete(this.#keptByKey.keys().next().value as string)
  }
}
