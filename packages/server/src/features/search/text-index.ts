import { inverseDocumentFrequency, isQueryTerm, termSaturation, type QueryTerm } from '@syncline/core/search'
import MiniSearch from 'minisearch'
import { frequencyOf, idOf, type Postings } from './postings.ts'
import { TermDictionary } from './term-dictionary.ts'

/** Ids that are looked at in one step of a search, where it has one term. */
const IDS_PER_STEP = 8_192
/** Postings that are joined in one step. */
const POSTINGS_PER_STEP = 32_768

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

/** The postings of one term of a query in one column. */
interface List {
  readonly postings: Postings | Joined
  readonly column: number
  readonly bit: number
  /** What a posting counts, beside its document. */
  readonly factor: number
}

/** How often documents hold any of several terms, by id. */
interface Joined {
  readonly sums: Uint32Array
  /** Documents that hold any. */
  readonly size: number
  /** Postings that were joined. */
  readonly joined: number
}

// What a step adds up, by how far an id lies from the first of the step. Between steps they hold zeros.
const scores = new Float64Array(IDS_PER_STEP)
const bits = new Int32Array(IDS_PER_STEP)
const touched = new Int32Array(IDS_PER_STEP)
let touchedCount = 0

/**
 * An inverted index. MiniSearch puts documents in and takes them out, and finds the terms with a prefix. Its own `search`
 * makes, collects and sorts an object for each hit in one go, which takes 140 ms for a term that 90,000 documents hold:
 * here the postings are read in steps, with the same formula and parameters. Each step adds up the scores of a range of ids,
 * which takes the same small memory however many match and however many search. What it reads and replaces are the
 * members that MiniSearch declares for classes which extend it (docs/decisions/0022).
 */
export class TextIndex extends MiniSearch<TextDocument> {
  readonly #dictionary = new TermDictionary()
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
    this._index = this.#dictionary as unknown as typeof this._index
    this.#lengths = Array.from({ length: columns }, () => [])
    this.#totals = this.#lengths.map(() => 0)
  }

  override add(document: TextDocument): void {
    const id = this.#freeIds.pop() ?? this.#endId++
    this._nextId = id
    super.add(document)
    for (const [column, { length }] of document.columns.entries()) this.#setLength(column, id, length)
  }

  override remove(document: TextDocument): void {
    const id = this.idOf(document.key) as number
    super.remove(document)
    for (const column of document.columns.keys()) this.#setLength(column, id, 0)
    this.#freeIds.push(id)
  }

  /** The id of the document under a key. Another one has it once that is gone. */
  idOf(key: string): number | undefined {
    return this._idToShortId.get(key)
  }

  /** The key of the document that has an id now. */
  keyOf(id: number): string | undefined {
    return this._documentIds.get(id) as string | undefined
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
    const found: Omit<List, 'factor'>[] = []
    let joined = 0
    for (const column of searchedColumns(weights)) {
      for (const [i, term] of terms.entries()) {
        const isTyped = term.prefix !== undefined
        const postings = isTyped ? yield* this.#joined(column, term) : this.#dictionary.postings(term.term, column)
        if (postings !== undefined && 'joined' in postings) joined += postings.joined
        if (postings !== undefined) found.push({ postings, column, bit: 1 << i })
      }
    }
    const documents = this._documentCount
    const { averageLengths } = this
    const inverseFrequencies = averageLengths.map(() => terms.map(() => inverseDocumentFrequency(documents, 0)))
    const lists = found.map((list): List => {
      const { postings, column, bit } = list
      const inverse = inverseDocumentFrequency(documents, postings.size)
      ;(inverseFrequencies[column] as number[])[31 - Math.clz32(bit)] = inverse
      return { ...list, factor: (weights[column] as number) * inverse }
    })
    return { lists, joined, statistics: { documents, averageLengths, inverseFrequencies } }
  }

  /**
   * Scores the documents with ids from one on, as many as a step takes: hands over those that match, and answers where the
   * next step begins. `share` is how many fewer it takes where each match costs more.
   */
  scan(
    { lists, statistics: { averageLengths } }: Prepared,
    from: number,
    share: number,
    take: (id: number, score: number, terms: number) => void,
  ): number {
    const to = from + Math.max(64, Math.floor(IDS_PER_STEP / (Math.max(1, lists.length / 8) * share)))
    for (const { postings, column, bit, factor } of lists) {
      const lengths = this.#lengths[column] as number[]
      const averageLength = averageLengths[column] as number
      if ('sums' in postings) {
        const { sums } = postings
        for (let id = from; id < to && id < sums.length; id++) {
          const frequency = sums[id] as number
          if (frequency > 0)
            note(id - from, bit, factor * termSaturation(frequency, lengths[id] as number, averageLength))
        }
        continue
      }
      for (const { block, start, end } of postings.spans(from, to)) {
        for (let i = start; i < end; i++) {
          const posting = block[i] as number
          const id = idOf(posting)
          const frequency = frequencyOf(posting, id)
          note(id - from, bit, factor * termSaturation(frequency, lengths[id] as number, averageLength))
        }
      }
    }
    const count = touchedCount
    touchedCount = 0
    for (let i = 0; i < count; i++) {
      const at = touched[i] as number
      const [score, terms] = [scores[at] as number, bits[at] as number]
      scores[at] = bits[at] = 0
      take(from + at, score, terms)
    }
    return to
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

  /** How often documents hold any of the terms that a word stands for which is being typed, by id; and how many hold any. */
  *#joined(column: number, { term, prefix = term, stems = [] }: QueryTerm): Generator<void, Joined> {
    const sums = new Uint32Array(this.#endId)
    const lists = [...this.#dictionary.withPrefix(prefix, column)]
    for (const other of [term, ...stems]) {
      const postings = other.startsWith(prefix) ? undefined : this.#dictionary.postings(other, column)
      if (postings !== undefined) lists.push(postings)
    }
    let [joined, added] = [0, 0]
    for (const list of lists) {
      list.addTo(sums)
      joined += list.size
      if ((added += list.size) < POSTINGS_PER_STEP) continue
      added = 0
      yield
    }
    let size = 0
    for (const sum of sums) if (sum > 0) size++
    return { sums, size, joined }
  }

  #setLength(column: number, id: number, length: number): void {
    const lengths = this.#lengths[column] as number[]
    this.#totals[column] = (this.#totals[column] as number) + length - (lengths[id] ?? 0)
    lengths[id] = length
  }
}

/** A document holds a term, for which it gets a score. */
function note(at: number, bit: number, score: number): void {
  const held = bits[at] as number
  if (held === 0) touched[touchedCount++] = at
  bits[at] = held | bit
  scores[at] = (scores[at] as number) + score
}

function searchedColumns(weights: readonly number[]): number[] {
  const columns: number[] = []
  for (const [column, weight] of weights.entries()) if (weight !== 0) columns.push(column)
  return columns
}

function differs(now: number, then: number, share: number): boolean {
  return Math.abs(now - then) > share * Math.max(Math.abs(now), Math.abs(then))
}
