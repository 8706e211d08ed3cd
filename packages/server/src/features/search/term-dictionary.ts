import type { QueryTerm } from '@syncline/core/search'
import SearchableMap from 'minisearch/SearchableMap'
import { Postings } from './postings.ts'

/** Terms whose notes are put in place in one step. */
const TERMS_PER_STEP = 256

/** The postings of one term by column: the map that MiniSearch would make of them. */
class Columns {
  readonly #lists: (Postings | undefined)[] = []
  size = 0
  /** Places of the first and the last note of the term; -1 where it has none. */
  firstNote = -1
  lastNote = -1

  get(column: number): Postings | undefined {
    return this.#lists[column]
  }

  delete(column: number): void {
    this.#lists[column] = undefined
    this.size--
  }

  /** The postings in a column, which are made where there are none. */
  made(column: number): Postings {
    const known = this.#lists[column]
    if (known !== undefined) return known
    this.size++
    return (this.#lists[column] = new Postings())
  }
}

/** That documents hold terms: of each note the document, the column, and where the next note of the same term is. */
class Notes {
  readonly size: number
  count = 0
  readonly ids: Int32Array
  readonly columns: Uint8Array
  readonly next: Int32Array

  constructor(size: number, notes?: Notes) {
    this.size = size
    this.ids = new Int32Array(size)
    this.columns = new Uint8Array(size)
    this.next = new Int32Array(size)
    if (notes === undefined) return
    this.count = notes.count
    this.ids.set(notes.ids)
    this.columns.set(notes.columns)
    this.next.set(notes.next)
  }
}

/** What MiniSearch takes for the map of a term while it puts documents in, and for the maps in that. */
interface NotedColumns {
  get(column: number): {
    get(id: number): undefined
    set(id: number): void
  }
}

/**
 * The terms of an index. MiniSearch's own map is a radix tree, which finds what begins with a prefix, and takes a microsecond
 * for each look at a term: those are answered from beside it. What MiniSearch adds is noted only, and put in place for many
 * documents at once, term by term: the way through memory to the postings of a term takes longer than all else.
 */
export class TermDictionary extends SearchableMap<Columns> {
  /** MiniSearch is putting a document in. */
  isNoting = false
  readonly #columnsByTerm = new Map<string, Columns>()
  readonly #noted: NotedColumns
  /** The term that MiniSearch has asked for. */
  #term: Columns | undefined
  /** Terms with notes. */
  #notedTerms: Columns[] = []
  #notes = new Notes(0)

  /** Of an index with so many columns. */
  constructor(columns: number) {
    super()
    const noted = Array.from({ length: columns }, (_, column) => ({
      get: () => undefined,
      set: (id: number) => this.#note(column, id),
    }))
    this.#noted = { get: (column) => noted[column] as ReturnType<NotedColumns['get']> }
  }

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
    if (!this.isNoting) return columns
    this.#term = columns
    return this.#noted as unknown as Columns
  }

  override delete(term: string): void {
    this.#columnsByTerm.delete(term)
    super.delete(term)
  }

  /** Notes that are not in place yet. */
  get noteCount(): number {
    return this.#notes.count
  }

  /** Puts all notes in place, in steps. Nothing is to be noted meanwhile. */
  *settle(): Generator<void, void> {
    const terms = this.#notedTerms
    const { ids, columns, next } = this.#notes
    for (let i = 0; i < terms.length; i++) {
      const term = terms[i] as Columns
      for (let at = term.firstNote; at >= 0; at = next[at] as number) {
        term.made(columns[at] as number).count(ids[at] as number)
      }
      term.firstNote = term.lastNote = -1
      if (i % TERMS_PER_STEP === TERMS_PER_STEP - 1) yield
    }
    this.#notedTerms = []
    this.#notes = new Notes(0)
  }

  /** Which documents hold a term in a column; undefined where none does. */
  postings(term: string, column: number): Postings | undefined {
    return this.#columnsByTerm.get(term)?.get(column)
  }

  /**
   * The same of each term that a word stands for which is being typed, and undefined now and then. It may be read on while
   * terms come and go.
   */
  *holding({ term, prefix = term, stems = [] }: QueryTerm, column: number): Generator<Postings | undefined, void> {
    const nodes = [this.atPrefix(prefix)._tree]
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      let found: Postings | undefined
      // What is taken apart and joined in the tree later is reached from here, or holds nothing that was there before.
      for (const [part, below] of node) {
        if (part === '') found = (below as Columns).get(column)
        else nodes.push(below as typeof node)
      }
      yield found
    }
    for (const other of [term, ...stems]) {
      if (!other.startsWith(prefix)) yield this.postings(other, column)
    }
  }

  #note(column: number, id: number): void {
    const term = this.#term as Columns
    if (this.#notes.count === this.#notes.size) this.#notes = new Notes(2 * this.#notes.size + 256, this.#notes)
    const notes = this.#notes
    const at = notes.count++
    notes.ids[at] = id
    notes.columns[at] = column
    notes.next[at] = -1
    if (term.lastNote < 0) {
      term.firstNote = at
      this.#notedTerms.push(term)
    } else notes.next[term.lastNote] = at
    term.lastNote = at
  }
}
