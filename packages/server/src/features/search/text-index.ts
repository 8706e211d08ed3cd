import { inverseDocumentFrequency, isQueryTerm, termSaturation, type QueryTerm } from '@syncline/core/search'
import MiniSearch from 'minisearch'

/** Postings that are looked at in one step. */
const POSTINGS_PER_STEP = 1_024
/** Begins what is put after a term to tell it from the same one before it. No term holds it. */
const ORDINAL_MARK = '\u0000'

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

/** The documents that hold a term in a column, and how often. */
type Postings = ReadonlyMap<number, number>

/**
 * An inverted index. MiniSearch keeps the postings, lengths and averages and finds the terms with a prefix. Its own
 * `search` makes, collects and sorts an object for each hit in one go, which takes 140 ms for a term that 90,000
 * documents hold: here the postings are read in steps, with the same formula and parameters, and only the best are kept.
 * What it reads are the members that MiniSearch declares for classes which extend it (docs/decisions/0022).
 */
export class TextIndex extends MiniSearch<TextDocument> {
  readonly #columns: number

  /** An index with so many columns. */
  constructor(columns: number) {
    const fields = Array.from({ length: columns }, (_, i) => String(i))
    super({
      fields,
      idField: 'key',
      extractField: (document, name) => (name === 'key' ? document.key : document.columns[Number(name)]),
      // The terms of a column are known already. MiniSearch takes as length the number of different ones that it is given.
      stringifyField: (terms: unknown) => terms as string,
      tokenize: (terms) => numbered(terms as unknown as readonly string[]),
      processTerm: (term) => {
        const mark = term.indexOf(ORDINAL_MARK)
        return mark < 0 ? term : term.slice(0, mark)
      },
      autoVacuum: false,
    })
    this.#columns = columns
  }

  /** The mean number of terms of all documents, by column. */
  get averageLengths(): readonly number[] {
    return Array.from({ length: this.#columns }, (_, column) => this._avgFieldLength[column] ?? 0)
  }

  /** How many postings a query looks at. Those of a prefix are not counted. */
  postingCount({ terms, weights }: TextQuery): number {
    let count = 0
    for (let column = 0; column < this.#columns; column++) {
      if (weights[column] === 0) continue
      for (const { term } of terms) count += this.#postings(column, term)?.size ?? 0
    }
    return count
  }

  /**
   * Finds all documents that hold a term of the query, and scores them. Documents that come, go or change meanwhile are to be
   * scored once more. In steps.
   */
  *find(query: TextQuery): Generator<void, { readonly matches: Match[]; readonly statistics: Statistics }> {
    const postings = yield* this.#allPostings(query)
    const statistics = this.#statisticsOf(postings)
    const hits = new Map<number, { score: number; terms: number }>()
    let count = 0
    for (const [column, ofColumn] of postings.entries()) {
      const weight = query.weights[column] as number
      const averageLength = statistics.averageLengths[column] as number
      for (const [i, ofTerm] of ofColumn.entries()) {
        const factor = weight * (statistics.inverseFrequencies[column]?.[i] as number)
        const bit = 1 << i
        for (const [id, frequency] of ofTerm) {
          const length = this._fieldLength.get(id)?.[column]
          if (length === undefined) continue
          const score = factor * termSaturation(frequency, length, averageLength)
          const hit = hits.get(id)
          if (hit === undefined) hits.set(id, { score, terms: bit })
          else {
            hit.score += score
            hit.terms |= bit
          }
          if (++count % POSTINGS_PER_STEP === 0) yield
        }
      }
    }
    const matches: Match[] = []
    for (const [id, { score, terms }] of hits) {
      const key = this._documentIds.get(id) as string | undefined
      if (key !== undefined) matches.push({ key, score, terms })
      if (++count % POSTINGS_PER_STEP === 0) yield
    }
    return { matches, statistics }
  }

  /** Scores one document with given statistics. Undefined where it holds no term of the query. */
  score({ terms, weights }: TextQuery, { key, columns }: TextDocument, statistics: Statistics): Match | undefined {
    let [sum, bits] = [0, 0]
    for (const [column, words] of columns.entries()) {
      const weight = weights[column] as number
      if (weight === 0) continue
      for (const [i, term] of terms.entries()) {
        let frequency = 0
        for (const word of words) if (isQueryTerm(term, word)) frequency++
        if (frequency === 0) continue
        const factor = weight * (statistics.inverseFrequencies[column]?.[i] as number)
        sum += factor * termSaturation(frequency, words.length, statistics.averageLengths[column] as number)
        bits |= 1 << i
      }
    }
    return bits === 0 ? undefined : { key, score: sum, terms: bits }
  }

  /** Says whether scores would differ by more than a share from those with given statistics. */
  hasDrifted({ terms, weights }: TextQuery, statistics: Statistics, share: number): boolean {
    if (differs(this._documentCount, statistics.documents, share)) return true
    for (let column = 0; column < this.#columns; column++) {
      if (weights[column] === 0) continue
      if (differs(this._avgFieldLength[column] ?? 0, statistics.averageLengths[column] as number, share)) return true
      for (const [i, { term, prefix }] of terms.entries()) {
        // What begins with a prefix is not counted each time: it drifts with the collection.
        if (prefix !== undefined && share === 0) return true
        if (prefix !== undefined) continue
        const holding = this.#postings(column, term)?.size ?? 0
        const now = inverseDocumentFrequency(this._documentCount, holding)
        if (differs(now, statistics.inverseFrequencies[column]?.[i] as number, share)) return true
      }
    }
    return false
  }

  *#allPostings({ terms, weights }: TextQuery): Generator<void, Postings[][]> {
    const all: Postings[][] = []
    for (let column = 0; column < this.#columns; column++) {
      const ofColumn: Postings[] = []
      all.push(ofColumn)
      for (const term of terms) {
        if (weights[column] === 0) ofColumn.push(new Map())
        else if (term.prefix === undefined) ofColumn.push(this.#postings(column, term.term) ?? new Map())
        else ofColumn.push(yield* this.#joined(column, term.term, term.prefix))
      }
    }
    return all
  }

  /** The documents that hold any term which begins with the prefix, or the term itself, and how often they hold them together. */
  *#joined(column: number, term: string, prefix: string): Generator<void, Postings> {
    const joined = new Map<number, number>()
    const terms = [...this._index.atPrefix(prefix).keys()]
    if (!term.startsWith(prefix)) terms.push(term)
    let count = 0
    for (const each of terms) {
      for (const [id, frequency] of this.#postings(column, each) ?? []) {
        joined.set(id, (joined.get(id) ?? 0) + frequency)
        if (++count % POSTINGS_PER_STEP === 0) yield
      }
    }
    return joined
  }

  #postings(column: number, term: string): Postings | undefined {
    return this._index.get(term)?.get(column)
  }

  #statisticsOf(postings: readonly (readonly Postings[])[]): Statistics {
    const documents = this._documentCount
    return {
      documents,
      averageLengths: this.averageLengths,
      inverseFrequencies: postings.map((ofColumn) =>
        ofColumn.map(({ size }) => inverseDocumentFrequency(documents, size)),
      ),
    }
  }
}

function differs(now: number, then: number, share: number): boolean {
  return Math.abs(now - then) > share * Math.max(Math.abs(now), Math.abs(then))
}

/** The terms, each told from the same one before it: MiniSearch counts as length only what differs. */
function numbered(terms: readonly string[]): string[] {
  const counts = new Map<string, number>()
  return terms.map((term) => {
    const count = counts.get(term) ?? 0
    counts.set(term, count + 1)
    return count === 0 ? term : `${term}${ORDINAL_MARK}${count}`
  })
}
