/** A set of UTF-16 code units: the units from one to another, pair by pair, or all others. */
export interface Units {
  readonly ranges: readonly number[]
  readonly isNegated: boolean
}

export type Assertion = '^' | '$' | 'b' | 'B'

/** One step of a compiled pattern. After `units` and an assertion the next step follows. */
export type Step =
  | { readonly kind: 'units'; readonly units: Units }
  | { readonly kind: 'assertion'; readonly assertion: Assertion }
  | { readonly kind: 'fork'; a: number; b: number }
  | { readonly kind: 'found' }

/** Characters of words. */
export const WORD: Units = { ranges: [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a], isNegated: false }

/**
 * Says whether a compiled pattern is found in a text. The sets of steps that ways may stand at are kept with what follows
 * on each kind of character, as they come up (a lazy automaton), which makes the next character a look in a table. Where
 * they are too many, or words have boundaries, the steps are followed one by one.
 */
export function searcher(steps: readonly Step[]): (text: string) => boolean {
  const follow = stepwise(steps)
  if (steps.some((step) => step.kind === 'assertion' && step.assertion.toLowerCase() === 'b')) return follow
  const automaton = new Automaton(steps)
  return (text) => automaton.search(text) ?? follow(text)
}

/** Places in the tables of one pattern, all sets together: some 16 kB. */
const MAX_PLACES = 4_096

/** The steps at which ways may stand before a character. */
interface Ways {
  /** Those that take a character, and ends of the text that are waited for. */
  readonly steps: readonly number[]
  /** Whether the pattern is found, where that is known whatever follows. */
  readonly verdict: boolean | undefined
  /** Whether it is found if the text ends here. */
  readonly isFoundAtEnd: boolean
  /** By kind of character. */
  readonly next: (Ways | undefined)[]
}

class Automaton {
  readonly #steps: readonly Step[]
  /** Where kinds of characters begin, in order: the pattern treats all units of one alike. */
  readonly #kinds: readonly number[]
  readonly #kindOf = new Uint16Array(TABLE)
  readonly #ways = new Map<string, Ways>()
  readonly #start: Ways | undefined

  constructor(steps: readonly Step[]) {
    this.#steps = steps
    const from = new Set([0])
    for (const step of steps) {
      if (step.kind !== 'units') continue
      for (const [i, each] of step.units.ranges.entries()) from.add(each + (i % 2))
    }
    this.#kinds = [...from].sort((a, b) => a - b)
    for (let each = 0; each < TABLE; each++) this.#kindOf[each] = this.#find(each)
    this.#start = this.#waysFrom([0], true)
  }

  /** Undefined where there are too many sets of steps. */
  search(text: string): boolean | undefined {
    // Its beginning is its end.
    if (text === '') return undefined
    let ways = this.#start
    for (let at = 0; at < text.length; at++) {
      if (ways === undefined) return undefined
      if (ways.verdict !== undefined) return ways.verdict
      const unit = text.charCodeAt(at)
      const kind = unit < TABLE ? (this.#kindOf[unit] as number) : this.#find(unit)
      ways = ways.next[kind] ?? this.#after(ways, kind)
    }
    return ways && (ways.verdict ?? ways.isFoundAtEnd)
  }

  #find(unit: number): number {
    let [low, high] = [0, this.#kinds.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.#kinds[middle] as number) <= unit) low = middle
      else high = middle
    }
    return low
  }

  #after(ways: Ways, kind: number): Ways | undefined {
    const unit = this.#kinds[kind] as number
    const first = [0]
    for (const index of ways.steps) {
      const step = this.#steps[index] as Step
      if (step.kind === 'units' && contains(step.units, unit)) first.push(index + 1)
    }
    const next = this.#waysFrom(first, false)
    if (next !== undefined) ways.next[kind] = next
    return next
  }

  #waysFrom(first: readonly number[], isStart: boolean): Ways | undefined {
    const { reached, isFound } = this.#reach(first, isStart, false)
    const key = isFound ? 'found' : reached.sort((a, b) => a - b).join(' ')
    let ways = this.#ways.get(key)
    if (ways !== undefined) return ways
    if ((this.#ways.size + 1) * this.#kinds.length > MAX_PLACES) return undefined
    const verdict = isFound || (reached.length === 0 ? false : undefined)
    const ends = reached.filter((index) => this.#steps[index]?.kind === 'assertion')
    ways = { steps: reached, verdict, isFoundAtEnd: this.#reach(ends, false, true).isFound, next: [] }
    this.#ways.set(key, ways)
    return ways
  }

  /** What is reached without a character. */
  #reach(first: readonly number[], isStart: boolean, isEnd: boolean): { reached: number[]; isFound: boolean } {
    const stack = [...first]
    const seen = new Set<number>()
    const reached: number[] = []
    for (let index = stack.pop(); index !== undefined; index = stack.pop()) {
      if (seen.has(index)) continue
      seen.add(index)
      const step = this.#steps[index] as Step
      if (step.kind === 'found') return { reached, isFound: true }
      if (step.kind === 'fork') stack.push(step.a, step.b)
      else if (step.kind === 'assertion' && (step.assertion === '^' ? isStart : isEnd)) stack.push(index + 1)
      else if (step.kind === 'units' || step.assertion === '$') reached.push(index)
    }
    return { reached, isFound: false }
  }
}

/** Units below this are looked up in a table. */
const TABLE = 128

function contains({ ranges, isNegated }: Units, each: number): boolean {
  for (let i = 0; i < ranges.length; i += 2) {
    if (each >= (ranges[i] as number) && each <= (ranges[i + 1] as number)) return !isNegated
  }
  return isNegated
}

const FORK = 0
const UNITS = 1
const FOUND = 2
const ASSERTION = 3

/** Follows all ways to match at once: each step that a way stands at is kept once. */
function stepwise(steps: readonly Step[]): (text: string) => boolean {
  const size = steps.length
  const kinds = new Uint8Array(size)
  const a = new Uint16Array(size)
  const b = new Uint16Array(size)
  const table = new Uint8Array(size * TABLE)
  for (const [index, step] of steps.entries()) {
    if (step.kind === 'fork') [a[index], b[index]] = [step.a, step.b]
    else if (step.kind === 'units') {
      kinds[index] = UNITS
      for (let each = 0; each < TABLE; each++) table[index * TABLE + each] = Number(contains(step.units, each))
    } else kinds[index] = step.kind === 'found' ? FOUND : ASSERTION
  }
  let here = new Uint16Array(size)
  let next = new Uint16Array(size)
  /** At which place in the text a step was reached last, so that it is kept once for each. */
  const reachedAt = new Int32Array(size)
  const stack = new Uint16Array(2 * size + 2)

  /** Adds a step that a way reaches before a character, and all that follow without one. −1 where the end is among them. */
  const reach = (list: Uint16Array, length: number, first: number, text: string, at: number): number => {
    let top = 0
    stack[top++] = first
    while (top > 0) {
      const index = stack[--top] as number
      if (reachedAt[index] === at) continue
      reachedAt[index] = at
      const kind = kinds[index]
      if (kind === UNITS) list[length++] = index
      else if (kind === FORK) {
        stack[top++] = b[index] as number
        stack[top++] = a[index] as number
      } else if (kind === FOUND) return -1
      else if (holds((steps[index] as { assertion: Assertion }).assertion, text, at)) stack[top++] = index + 1
    }
    return length
  }

  return (text) => {
    reachedAt.fill(-1)
    let count = 0
    for (let at = 0; ; at++) {
      count = reach(here, count, 0, text, at)
      if (count < 0) return true
      if (at >= text.length) return false
      const character = text.charCodeAt(at)
      let nextCount = 0
      for (let i = 0; i < count; i++) {
        const index = here[i] as number
        const isIn =
          character < TABLE
            ? table[index * TABLE + character] === 1
            : contains((steps[index] as { units: Units }).units, character)
        if (!isIn) continue
        nextCount = reach(next, nextCount, index + 1, text, at + 1)
        if (nextCount < 0) return true
      }
      ;[here, next] = [next, here]
      count = nextCount
    }
  }
}

function holds(assertion: Assertion, text: string, at: number): boolean {
  if (assertion === '^') return at === 0
  if (assertion === '$') return at === text.length
  const before = at > 0 && contains(WORD, text.charCodeAt(at - 1))
  const after = at < text.length && contains(WORD, text.charCodeAt(at))
  return (before !== after) === (assertion === 'b')
}
