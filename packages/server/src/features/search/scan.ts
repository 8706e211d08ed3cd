import { lengthNorm, saturation } from '@syncline/core/search'
import type { Expansion } from './expansions.ts'
import type { Postings, Run } from './postings.ts'

/** Ids that are looked at in one step of a search, where it has one term. */
const IDS_PER_STEP = 8_192
/** Documents of more terms are rare: their norms are reckoned each time. */
const NORMS = 1_024

/** The postings of one term of a query in one column. */
export interface List {
  readonly postings: Postings | Expansion
  readonly bit: number
  /** What a posting counts, beside its document. */
  readonly factor: number
  readonly norms: ColumnNorms
}

/** What a step has found of a range of ids. It holds until the next step, of whatever search. */
export interface Step {
  readonly from: number
  /** Where the next step begins. */
  readonly to: number
  /** Documents that hold any term. */
  readonly count: number
  /** How far their ids lie from the first one, in order. */
  readonly places: Int32Array
  /** By place. */
  readonly scores: Float64Array
  /** Which terms they hold, by place: bit i stands for the query's term i. */
  readonly terms: Int32Array
}

// All searches share this memory, however many there are and however many documents match.
const run: Run = { places: new Int32Array(IDS_PER_STEP), frequencies: new Int32Array(IDS_PER_STEP) }
const places = new Int32Array(IDS_PER_STEP)
const scores = new Float64Array(IDS_PER_STEP)
const terms = new Int32Array(IDS_PER_STEP)

/** What the lengths of documents in a column do to their scores, with the mean length of one moment. */
export class ColumnNorms {
  readonly #lengths: readonly number[]
  readonly #averageLength: number
  readonly #norms = new Float64Array(NORMS)

  /** `lengths` are those of documents by id, as they are. */
  constructor(lengths: readonly number[], averageLength: number) {
    this.#lengths = lengths
    this.#averageLength = averageLength
    for (let length = 0; length < NORMS; length++) this.#norms[length] = lengthNorm(length, averageLength)
  }

  of(id: number): number {
    const length = this.#lengths[id] as number
    return length < NORMS ? (this.#norms[length] as number) : lengthNorm(length, this.#averageLength)
  }
}

/**
 * Scores the documents with ids from one on, as many as a step takes. `share` is how many fewer it takes where each match
 * costs more.
 */
export function readStep(lists: readonly List[], from: number, share: number): Step {
  const to = from + Math.max(64, Math.floor(IDS_PER_STEP / (Math.max(1, lists.length / 8) * share)))
  scores.fill(0, 0, to - from)
  terms.fill(0, 0, to - from)
  for (const { postings, bit, factor, norms } of lists) {
    const length = postings.read(from, to, run)
    for (let i = 0; i < length; i++) {
      const at = run.places[i] as number
      terms[at] = (terms[at] as number) | bit
      scores[at] = (scores[at] as number) + factor * saturation(run.frequencies[i] as number, norms.of(from + at))
    }
  }
  let count = 0
  for (let at = 0; at < to - from; at++) if (terms[at] !== 0) places[count++] = at
  return { from, to, count, places, scores, terms }
}
