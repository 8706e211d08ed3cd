import SearchableMap from 'minisearch/SearchableMap'
import { Postings } from './postings.ts'

/** The postings of one term by column. It is the map that MiniSearch would make, but has postings of what it is asked for. */
class Columns {
  readonly #lists: (Postings | undefined)[] = []
  size = 0

  /** MiniSearch asks for a column before it puts the first document in. */
  get(column: number): Postings {
    const known = this.#lists[column]
    if (known !== undefined) return known
    this.size++
    return (this.#lists[column] = new Postings())
  }

  delete(column: number): void {
    this.#lists[column] = undefined
    this.size--
  }

  existing(column: number): Postings | undefined {
    return this.#lists[column]
  }
}

/**
 * The terms of an index. MiniSearch's own map is a radix tree, which finds what begins with a prefix, and takes a microsecond
 * for each look at a term: those are answered from beside it.
 */
export class TermDictionary extends SearchableMap<Columns> {
  readonly #columnsByTerm = new Map<string, Columns>()

  override get(term: string): Columns | undefined {
    return this.#columnsByTerm.get(term)
  }

  override has(term: string): boolean {
    return this.#columnsByTerm.has(term)
  }

  override fetch(term: string): Columns {
    let columns = this.#columnsByTerm.get(term)
    if (columns === undefined) {
      columns = super.fetch(term, () => new Columns())
      this.#columnsByTerm.set(term, columns)
    }
    return columns
  }

  override delete(term: string): void {
    this.#columnsByTerm.delete(term)
    super.delete(term)
  }

  /** Which documents hold a term in a column; undefined where none does. */
  postings(term: string, column: number): Postings | undefined {
    return this.#columnsByTerm.get(term)?.existing(column)
  }

  /** The same of each term that begins with a prefix. */
  *withPrefix(prefix: string, column: number): Generator<Postings, void> {
    for (const columns of this.atPrefix(prefix).values()) {
      const postings = columns.existing(column)
      if (postings !== undefined) yield postings
    }
  }
}
