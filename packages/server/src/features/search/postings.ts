/** More than a document counts for holding a term often: a posting is one number, its document's id times this and how often. */
const FREQUENCIES = 2 ** 20
const ID_UNIT = 1 / FREQUENCIES
/** Postings of a full block. */
const BLOCK = 2_048

/** Where postings are read to, in the order of ids. */
export interface Run {
  /** How far the id of each lies from the first one that was asked for. */
  readonly places: Int32Array
  readonly frequencies: Int32Array
}

/** The id of a posting's document. */
function idOf(posting: number): number {
  return (posting * ID_UNIT) | 0
}

/** How often the document with this id holds the term of a posting. */
function frequencyOf(posting: number, id: number): number {
  return posting - id * FREQUENCIES
}

/**
 * Which documents hold a term in a column, and how often, in the order of their ids: so that a search can read them a range
 * of ids at a time, whatever comes and goes meanwhile. MiniSearch takes it for the map that it makes otherwise.
 */
export class Postings {
  readonly #blocks: number[][] = []
  #size = 0
  /** Above all ids in it: those of documents that are new mostly are. */
  #endId = 0

  /** Documents that hold the term. */
  get size(): number {
    return this.#size
  }

  /** How often a document holds the term; undefined where it does not. */
  get(id: number): number | undefined {
    if (id >= this.#endId) return undefined
    const first = id * FREQUENCIES
    const block = this.#blocks[this.#blockOf(first)]
    const posting = block?.[placeOf(block, first)] ?? Infinity
    return posting < first + FREQUENCIES ? posting - first : undefined
  }

  set(id: number, frequency: number): void {
    const first = id * FREQUENCIES
    const posting = first + Math.min(frequency, FREQUENCIES - 1)
    if (id >= this.#endId) {
      this.#append(posting)
      this.#endId = id + 1
      return
    }
    const at = this.#blockOf(first)
    const block = this.#blocks[at]
    if (block === undefined) {
      this.#append(posting)
      return
    }
    const place = placeOf(block, first)
    const isKnown = (block[place] as number) < first + FREQUENCIES
    block.splice(place, isKnown ? 1 : 0, posting)
    if (isKnown) return
    this.#size++
    if (block.length > BLOCK) this.#blocks.splice(at + 1, 0, block.splice(BLOCK / 2))
  }

  /** A document holds the term once more. */
  count(id: number): void {
    if (id >= this.#endId) {
      this.#append(id * FREQUENCIES + 1)
      this.#endId = id + 1
    } else this.set(id, (this.get(id) ?? 0) + 1)
  }

  delete(id: number): void {
    const first = id * FREQUENCIES
    const at = this.#blockOf(first)
    const block = this.#blocks[at]
    if (block === undefined) return
    const place = placeOf(block, first)
    if ((block[place] as number) >= first + FREQUENCIES) return
    block.splice(place, 1)
    this.#size--
    if (block.length === 0) this.#blocks.splice(at, 1)
  }

  /** Reads the postings of the documents from one id on, up to another and without that. Answers how many they are. */
  read(from: number, to: number, { places, frequencies }: Run): number {
    const [first, end] = [from * FREQUENCIES, to * FREQUENCIES]
    let count = 0
    for (let at = this.#blockOf(first); at < this.#blocks.length; at++) {
      const block = this.#blocks[at] as number[]
      for (let i = placeOf(block, first); i < block.length; i++) {
        const posting = block[i] as number
        if (posting >= end) return count
        const id = idOf(posting)
        places[count] = id - from
        frequencies[count++] = frequencyOf(posting, id)
      }
    }
    return count
  }

  /** Adds how often the documents of a range hold the term to sums by id. Answers for how many that is the first. */
  addTo(sums: Uint32Array | number[], from: number, to: number): number {
    const [first, end] = [from * FREQUENCIES, to * FREQUENCIES]
    let added = 0
    for (let at = this.#blockOf(first); at < this.#blocks.length; at++) {
      const block = this.#blocks[at] as number[]
      for (let i = placeOf(block, first); i < block.length; i++) {
        const posting = block[i] as number
        if (posting >= end) return added
        const id = idOf(posting)
        const sum = sums[id] as number
        if (sum === 0) added++
        sums[id] = sum + frequencyOf(posting, id)
      }
    }
    return added
  }

  #append(posting: number): void {
    const last = this.#blocks[this.#blocks.length - 1]
    if (last === undefined || last.length === BLOCK) this.#blocks.push([posting])
    else last.push(posting)
    this.#size++
  }

  /** The block that holds the first posting which is not smaller; past the last one where there is none. */
  #blockOf(posting: number): number {
    const blocks = this.#blocks
    let low = 0
    let high = blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const block = blocks[middle] as number[]
      if ((block[block.length - 1] as number) < posting) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Where the first posting stands in a block that is not smaller. */
function placeOf(block: readonly number[], posting: number): number {
  let low = 0
  let high = block.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((block[middle] as number) < posting) low = middle + 1
    else high = middle
  }
  return low
}
