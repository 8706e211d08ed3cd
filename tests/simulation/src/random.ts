/** Seeded chance: small fast counter, 32 bits. Source: Doty-Humphrey, PractRand `sfc32`. Not for secrets. */
export class Random {
  readonly #name: string
  #a: number
  #b: number
  #c: number
  #count = 1

  /** The same name gives the same numbers. */
  constructor(name: string) {
    this.#name = name
    this.#a = hashText(name, 0x811c9dc5)
    this.#b = hashText(name, 0x9e3779b9)
    this.#c = hashText(name, 0x85ebca6b)
    for (let i = 0; i < 12; i++) this.next()
  }

  /** A source of its own, so that drawing more from one does not move the others. */
  fork(name: string): Random {
    return new Random(`${this.#name}/${name}`)
  }

  /** A number in [0, 1). */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#count) | 0
    this.#count = (this.#count + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return (sum >>> 0) / 4_294_967_296
  }

  /** A whole number in [0, count). */
  int(count: number): number {
    return Math.floor(this.next() * count)
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.int(items.length)] as Item
  }

  /** Mostly near `from`, now and then near `to`: how delays are spread. */
  skewed(from: number, to: number): number {
    return from + this.next() ** 4 * (to - from)
  }

  /** One of the names, by weight. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const names = Object.keys(weights) as Name[]
    let left = this.next() * names.reduce((sum, name) => sum + weights[name], 0)
    for (const name of names) if ((left -= weights[name]) < 0) return name
    return names.at(-1) as Name
  }
}

function hashText(text: string, seed: number): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return hash ^ (hash >>> 13)
}
