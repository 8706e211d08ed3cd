import { inverseDocumentFrequency, isQueryTerm, termSaturation, type QueryTerm } from '@syncline/core/search'
import MiniSearch from 'minisearch'
import { Expansions } from './expansions.ts'
import { ColumnNorms, type List } from './scan.ts'
import { TermDictionary } from './term-dictionary.ts'

/** Words of new documents that are gathered before they are put in place. */
const MAX_NOTES = 65_536

/** A document: its terms in each column, repeated as often as they come. */
export interface TextDocument {
  readonly key: string
  readonly columns: readonly (readonly string[])[]
}

/** What is looked for, in which columns. */
export interface TextQuery {
  readonly terms: readonly QueryTerm[]
  /** How much each column counts, in their order; one that is not searched is 0. */
  readonly weights: readonly number[]
}

/** How a document answers a query. */
export interface Match {
  readonly key: string
  readonly score: number
  /** Which terms it holds: bit i stands for the query's term i. */
  readonly terms: number
}

/** What scores rest on beside the document: the collection as it was at one moment. */
export interface Statistics {
  readonly documents: number
  /** By column. */
  readonly averageLengths: readonly number[]
  /** By column, then by term. */
  readonly inverseFrequencies: readonly (readonly number[])[]
}

/** A query with what there is to read for it. */
export interface Prepared {
  readonly statistics: Statistics
  /** Postings that were looked at for what words stand for which are being typed. */
  readonly joined: number
  readonly lists: readonly List[]
}

/** The keys of documents by id: a list takes a fifth of what the map takes that MiniSearch would make. */
class KeyList {
  readonly #keys: (string | undefined)[] = []

  get(id: number): string | undefined {
    return this.#keys[id]
  }

  set(id: number, key: string): void {
    this.#keys[id] = key
  }

  delete(id: number): void {
    this.#keys[id] = undefined
  }
}

/** What MiniSearch takes for its map of lengths: it counts different terms, and nobody asks for them. */
class NoLengths {
  get(): undefined {
    return undefined
  }

  set(): void {}

  delete(): void {}
}

/**
 * An inverted index. MiniSearch puts documents in and takes them out, and finds the terms with a prefix. Its own `search`
 * makes, collects and sorts an object for each hit in one go, which takes 140 ms for a term that 90,000 documents hold:
 * here the postings are read in steps, with the same formula and parameters. Each step adds up the scores of a range of ids,
 * which takes the same small memory however many match and however many search. What it reads and replaces are the
 * members that MiniSearch declares for classes which extend it (docs/decisions/0022).
 */
export class TextIndex extends MiniSearch<TextDocument> {
  readonly #dictionary: TermDictionary
  readonly #expansions: Expansions
  readonly #keys = new KeyList()
  /** Terms of documents by id, for each column. */
  readonly #lengths: readonly number[][]
  /** The sums of these. */
  readonly #totals: number[]
  /** Ids of documents that are gone. Ids are used again, so that they stay few. */
  readonly #freeIds: number[] = []
  /** Above all ids. */
  #endId = 0

  /** An index with so many columns. */
  constructor(columns: number) {
    super({
      fields: Array.from({ length: columns }, (_, i) => String(i)),
      idField: 'key',
      extractField: (document, name) => (name === 'key' ? document.key : document.columns[Number(name)]),
      // The terms of a column are known already.
      stringifyField: (terms: unknown) => terms as string,
      tokenize: (terms) => terms as unknown as string[],
      processTerm: (term) => term,
      autoVacuum: false,
    })
    this.#dictionary = new TermDictionary(columns)
    this.#expansions = new Expansions(this.#dictionary)
    this._index = this.#dictionary as unknown as typeof this._index
    this._documentIds = this.#keys as unknown as typeof this._documentIds
    this._fieldLength = new NoLengths() as unknown as typeof this._fieldLength
    this.#lengths = Array.from({ length: columns }, () => [])
    this.#totals = this.#lengths.map(() => 0)
  }

  /** Puts a document in. */
  override add(document: TextDocument): void {
    this.gather(document)
    for (const _step of this.settle());
  }

  /** Puts a document in that is not there before `settle` is done. Until then none may be taken out, or searched for. */
  gather(document: TextDocument): void {
    const id = this.#freeIds.pop() ?? this.#endId++
    this._nextId = id
    this.#dictionary.isNoting = true
    super.add(document)
    this.#dictionary.isNoting = false
    for (const [column, words] of document.columns.entries()) this.#changed(column, id, words)
  }

  /** So much was gathered that it is time to settle it. */
  get isFull(): boolean {
    return this.#dictionary.noteCount >= MAX_NOTES
  }

  /** Puts in place what was gathered, in steps. */
  settle(): Generator<void, void> {
    return this.#dictionary.settle()
  }

  /** Takes a document out. */
  override remove(document: TextDocument): void {
    const id = this.idOf(document.key) as number
    super.remove(document)
    for (const column of document.columns.keys()) this.#changed(column, id, [])
    this.#freeIds.push(id)
  }

  /** The id of the document under a key. Another one has it once that is gone. */
  idOf(key: string): number | undefined {
    return this._idToShortId.get(key)
  }

  /** The key of the document that has an id now. */
  keyOf(id: number): string | undefined {
    return this.#keys.get(id)
  }

  /** Above all ids. */
  get endId(): number {
    return this.#endId
  }

  /** The mean number of terms of all documents, by column. */
  get averageLengths(): readonly number[] {
    return this.#totals.map((total) => (this._documentCount === 0 ? 0 : total / this._documentCount))
  }

  /** How many postings a query looks at. Those of a prefix are not counted. */
  postingCount({ terms, weights }: TextQuery): number {
    let count = 0
    for (const column of searchedColumns(weights)) {
      for (const { term } of terms) count += this.#dictionary.postings(term, column)?.size ?? 0
    }
    return count
  }

  /** Finds what there is to read for a query, and the statistics as they are then. In steps. */
  *prepare({ terms, weights }: TextQuery): Generator<void, Prepared> {
    let joined = 0
    const found: { postings: List['postings']; column: number; term: number }[] = []
    for (const column of searchedColumns(weights)) {
      for (const [i, term] of terms.entries()) {
        let postings: List['postings'] | undefined = this.#dictionary.postings(term.term, column)
        if (term.prefix !== undefined) {
          const expanded = yield* this.#expansions.of(column, term, this.#endId)
          postings = expanded.postings
          joined += expanded.joined + (postings?.size ?? 0)
        }
        if (postings !== undefined) found.push({ postings, column, term: i })
      }
    }
    const documents = this._documentCount
    const { averageLengths } = this
    const norms = averageLengths.map((mean, column) => new ColumnNorms(this.#lengths[column] as number[], mean))
    const inverseFrequencies = averageLengths.map(() => terms.map(() => inverseDocumentFrequency(documents, 0)))
    const lists = found.map(({ postings, column, term }): List => {
      const inverse = inverseDocumentFrequency(documents, postings.size)
      ;(inverseFrequencies[column] as number[])[term] = inverse
      const factor = (weights[column] as number) * inverse
      return { postings, bit: 1 << term, factor, norms: norms[column] as ColumnNorms }
    })
    return { lists, joined, statistics: { documents, averageLengths, inverseFrequencies } }
  }

  /** Scores one document with given statistics. Undefined where it holds no term of the query. */
  score({ terms, weights }: TextQuery, { key, columns }: TextDocument, statistics: Statistics): Match | undefined {
    let [sum, held] = [0, 0]
    for (const column of searchedColumns(weights)) {
      const words = columns[column] as readonly string[]
      for (const [i, term] of terms.entries()) {
        let frequency = 0
        for (const word of words) if (isQueryTerm(term, word)) frequency++
        if (frequency === 0) continue
        const factor = (weights[column] as number) * (statistics.inverseFrequencies[column]?.[i] as number)
        sum += factor * termSaturation(frequency, words.length, statistics.averageLengths[column] as number)
        held |= 1 << i
      }
    }
    return held === 0 ? undefined : { key, score: sum, terms: held }
  }

  /** Says whether scores would differ by more than a share from those with given statistics. */
  hasDrifted({ terms, weights }: TextQuery, statistics: Statistics, share: number): boolean {
    if (differs(this._documentCount, statistics.documents, share)) return true
    const { averageLengths } = this
    for (const column of searchedColumns(weights)) {
      if (differs(averageLengths[column] as number, statistics.averageLengths[column] as number, share)) return true
      for (const [i, term] of terms.entries()) {
        // What begins with a prefix is not counted each time: it drifts with the collection.
        if (term.prefix !== undefined && share === 0) return true
        if (term.prefix !== undefined) continue
        const holding = this.#dictionary.postings(term.term, column)?.size ?? 0
        const now = inverseDocumentFrequency(this._documentCount, holding)
        if (differs(now, statistics.inverseFrequencies[column]?.[i] as number, share)) return true
      }
    }
    return false
  }

  #changed(column: number, id: number, words: readonly string[]): void {
    this.#expansions.change(id, column, words)
    const { length } = words
    const lengths = this.#lengths[column] as number[]
    this.#totals[column] = (this.#totals[column] as number) + length - (lengths[id] ?? 0)
    lengths[id] = length
  }
}

function searchedColumns(weights: readonly number[]): number[] {
  const columns: number[] = []
  for (const [column, weight] of weights.entries()) if (weight !== 0) columns.push(column)
  return columns
}

function differs(now: number, then: number, share: number): boolean {
  return Math.abs(now - then) > share * Math.max(Math.abs(now), Math.abs(then))
}
