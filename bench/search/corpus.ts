// Documents and queries, the same in every process and every run.

/** Different words, the commonest first, whose frequencies fall as those of a language do. */
const WORDS = 50_000
const SYLLABLES = 'ba ko ri tu ne la so mi ver tan gel por dis fu zan che lo pra qui sto'.split(' ')

/** A generator of numbers in [0, 1) that gives the same ones for the same seed. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** A document: a title of 5 words and a body of 40. */
export interface Note {
  readonly title: string
  readonly body: string
}

/** What is searched for: one to three words of the middle, or as they come in the texts; twelve of these; the first two letters of one. */
export type Mix = 'ordinary words' | 'any words' | 'twelve words' | 'two letters'

/** What is searched for, and whether the last word is still being typed. */
export interface Query {
  readonly text: string
  readonly prefix: boolean
}

/** Makes documents and queries. */
export class Corpus {
  readonly #random: () => number
  readonly #words: string[] = []
  readonly #sums: number[] = []

  constructor(seed: number) {
    const random = numbers(7)
    const known = new Set<string>()
    while (this.#words.length < WORDS) {
      const count = 2 + Math.floor(random() * 3)
      const word = Array.from({ length: count }, () => SYLLABLES[Math.floor(random() * SYLLABLES.length)]).join('')
      if (known.has(word)) continue
      known.add(word)
      this.#words.push(word)
    }
    let sum = 0
    for (let rank = 0; rank < WORDS; rank++) this.#sums.push((sum += 1 / (rank + 2.7) ** 1.07))
    this.#random = numbers(seed)
  }

  note(): Note {
    return { title: this.#text(5), body: this.#text(40) }
  }

  query(mix: Mix): Query {
    if (mix === 'two letters') return { text: this.#word().slice(0, 2), prefix: true }
    if (mix === 'twelve words') return { text: this.#text(12), prefix: false }
    const count = 1 + Math.floor(this.#random() * 3)
    if (mix === 'any words') return { text: this.#text(count), prefix: false }
    const words = Array.from({ length: count }, () => this.#words[100 + Math.floor(this.#random() * 4_900)] as string)
    return { text: words.join(' '), prefix: false }
  }

  #text(words: number): string {
    return Array.from({ length: words }, () => this.#word()).join(' ')
  }

  #word(): string {
    const at = this.#random() * (this.#sums.at(-1) as number)
    let [low, high] = [0, WORDS - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#sums[middle] as number) < at) low = middle + 1
      else high = middle
    }
    return this.#words[low] as string
  }
}
