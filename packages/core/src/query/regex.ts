import { WORD, searcher, type Assertion, type Step, type Units } from './regex-search.ts'

/** Most instructions of one compiled pattern: about one for each character and each repetition, counted ones written out. */
export const MAX_REGEX_SIZE = 64

/** Deepest nesting of groups. */
const MAX_DEPTH = 32

/** Why a pattern is refused, in words that go on after "the pattern". */
export class BadPattern extends Error {}

type Node =
  | { readonly kind: 'units'; readonly units: Units }
  | { readonly kind: 'assertion'; readonly assertion: Assertion }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Node[] }
  | { readonly kind: 'repeat'; readonly part: Node; readonly min: number; readonly max: number }

const DIGITS: Units = { ranges: [0x30, 0x39], isNegated: false }
const SPACES: Units = {
  ranges: [
    9, 13, 32, 32, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f, 0x202f, 0x205f, 0x205f, 0x3000,
    0x3000, 0xfeff, 0xfeff,
  ],
  isNegated: false,
}
const ANY: Units = { ranges: [10, 10, 13, 13, 0x2028, 0x2029], isNegated: true }
const SETS: Readonly<Record<string, Units>> = { d: DIGITS, w: WORD, s: SPACES }
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 }

/**
 * Compiles a pattern in the syntax of JavaScript's regular expressions without flags, to a test whether it is found in a
 * text: by UTF-16 code unit, in upper and lower case as written. Without backreferences and lookaround, which no engine
 * offers in linear time. It follows all ways to match at once, so the time is at most the length of the text times that of
 * the pattern, whatever they are. Throws `BadPattern`.
 * Source: Thompson, "Regular expression search algorithm" (1968), as told in Cox, "Regular expression matching can be
 * simple and fast" (2007).
 */
export function compileRegex(pattern: string): {
  readonly size: number
  readonly isFoundIn: (text: string) => boolean
} {
  const program = new Program()
  program.write(new Parser(pattern).parse())
  return { size: program.steps.length, isFoundIn: searcher(program.steps) }
}

class Parser {
  readonly #pattern: string
  #at = 0

  constructor(pattern: string) {
    this.#pattern = pattern
  }

  parse(): Node {
    const node = this.#choice(0)
    if (this.#at < this.#pattern.length) throw new BadPattern('closes a group that is not open.')
    return node
  }

  #peek(): string | undefined {
    return this.#pattern[this.#at]
  }

  #take(text: string): boolean {
    if (!this.#pattern.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #choice(depth: number): Node {
    if (depth > MAX_DEPTH) throw new BadPattern(`has more than ${MAX_DEPTH} levels of groups.`)
    const parts: Node[] = []
    do parts.push(this.#sequence(depth))
    while (this.#take('|'))
    return parts.length === 1 ? (parts[0] as Node) : { kind: 'choice', parts }
  }

  #sequence(depth: number): Node {
    const parts: Node[] = []
    for (let next = this.#peek(); next !== undefined && next !== '|' && next !== ')'; next = this.#peek()) {
      const part = this.#atom(depth)
      const repeat = this.#repeat()
      if (repeat === undefined) parts.push(part)
      else if (part.kind === 'assertion') throw new BadPattern('repeats what has no length.')
      else parts.push({ kind: 'repeat', part, ...repeat })
    }
    return { kind: 'sequence', parts }
  }

  #repeat(): { min: number; max: number } | undefined {
    const found = REPEAT.exec(this.#pattern.slice(this.#at, this.#at + 32))
    if (found === null) return undefined
    this.#at += found[0].length
    const [whole, from, comma, to] = found
    if (whole.startsWith('*')) return { min: 0, max: Infinity }
    if (whole.startsWith('+')) return { min: 1, max: Infinity }
    if (whole.startsWith('?')) return { min: 0, max: 1 }
    const min = Number(from)
    const max = comma === undefined ? min : to === '' ? Infinity : Number(to)
    if (max < min) throw new BadPattern('repeats at most less often than at least.')
    return { min, max }
  }

  #atom(depth: number): Node {
    if (REPEAT.test(this.#pattern.slice(this.#at, this.#at + 32))) throw new BadPattern('repeats nothing.')
    const character = this.#pattern[this.#at++] as string
    switch (character) {
      case '(':
        return this.#group(depth)
      case '[':
        return { kind: 'units', units: this.#class() }
      case '.':
        return { kind: 'units', units: ANY }
      case '^':
      case '$':
        return { kind: 'assertion', assertion: character }
      case '\\': {
        const escaped = this.#peek()
        if (escaped !== 'b' && escaped !== 'B') return { kind: 'units', units: this.#escape() }
        this.#at++
        return { kind: 'assertion', assertion: escaped }
      }
      default:
        return { kind: 'units', units: unit(character.charCodeAt(0)) }
    }
  }

  #group(depth: number): Node {
    if (this.#take('?')) {
      const name = /^<[A-Za-z_$][\w$]*>/.exec(this.#pattern.slice(this.#at))
      if (name !== null) this.#at += name[0].length
      else if (!this.#take(':')) throw new BadPattern('has a group of a kind that is not offered, such as lookaround.')
    }
    const inner = this.#choice(depth + 1)
    if (!this.#take(')')) throw new BadPattern('does not close a group.')
    return inner
  }

  /** What stands after a backslash. */
  #escape(): Units {
    const character = this.#pattern[this.#at++]
    if (character === undefined) throw new BadPattern('ends in a backslash.')
    const set = SETS[character.toLowerCase()]
    if (set !== undefined) return character === character.toLowerCase() ? set : { ...set, isNegated: true }
    const control = CONTROLS[character]
    if (control !== undefined && !(character === '0' && /\d/.test(this.#peek() ?? ''))) return unit(control)
    const digits = character === 'x' ? 2 : character === 'u' ? 4 : 0
    const code = this.#pattern.slice(this.#at, this.#at + digits)
    if (digits > 0 && /^[\da-fA-F]+$/.test(code) && code.length === digits) {
      this.#at += digits
      return unit(Number.parseInt(code, 16))
    }
    if (/[\dA-Za-z]/.test(character)) throw new BadPattern(`has \\${character}, which is not offered.`)
    return unit(character.charCodeAt(0))
  }

  #class(): Units {
    const isNegated = this.#take('^')
    const ranges: number[] = []
    for (;;) {
      const character = this.#peek()
      if (character === undefined) throw new BadPattern('does not close a set of characters.')
      if (this.#take(']')) return { ranges, isNegated }
      const from = this.#member()
      const isRange = this.#peek() === '-' && this.#pattern[this.#at + 1] !== ']' && this.#at + 1 < this.#pattern.length
      if (typeof from !== 'number' || !isRange) {
        addUnits(ranges, typeof from === 'number' ? unit(from) : from)
        continue
      }
      this.#at++
      const to = this.#member()
      if (typeof to !== 'number') {
        addUnits(ranges, unit(from))
        addUnits(ranges, unit(0x2d))
        addUnits(ranges, to)
      } else if (to < from) throw new BadPattern('has a range of characters that ends before it begins.')
      else ranges.push(from, to)
    }
  }

  /** One character of a set, or a set in it. */
  #member(): number | Units {
    if (this.#take('\\b')) return 8
    const units = this.#take('\\') ? this.#escape() : unit((this.#pattern[this.#at++] as string).charCodeAt(0))
    const isOne = !units.isNegated && units.ranges.length === 2 && units.ranges[0] === units.ranges[1]
    return isOne ? (units.ranges[0] as number) : units
  }
}

const REPEAT = /^(?:[*+?]|\{(\d{1,9})(,(\d{0,9}))?\})\??/

function unit(code: number): Units {
  return { ranges: [code, code], isNegated: false }
}

/** Adds units to a set of ranges. */
function addUnits(ranges: number[], { ranges: added, isNegated }: Units): void {
  if (!isNegated) {
    ranges.push(...added)
    return
  }
  let from = 0
  for (let i = 0; i < added.length; i += 2) {
    if ((added[i] as number) > from) ranges.push(from, (added[i] as number) - 1)
    from = (added[i + 1] as number) + 1
  }
  ranges.push(from, 0xffff)
}

class Program {
  readonly steps: Step[] = []

  write(node: Node): void {
    this.#write(node)
    this.#add({ kind: 'found' })
  }

  #add(step: Step): number {
    if (this.steps.length >= MAX_REGEX_SIZE) {
      throw new BadPattern(
        `is longer than ${MAX_REGEX_SIZE} characters and repetitions, with counted ones written out.`,
      )
    }
    return this.steps.push(step) - 1
  }

  #write(node: Node): void {
    switch (node.kind) {
      case 'units':
      case 'assertion':
        this.#add(node)
        return
      case 'sequence':
        for (const part of node.parts) this.#write(part)
        return
      case 'choice':
        this.#writeChoice(node.parts)
        return
      case 'repeat':
        this.#writeRepeat(node)
    }
  }

  #writeChoice(parts: readonly Node[]): void {
    const ends: { b: number }[] = []
    for (const [i, part] of parts.entries()) {
      if (i === parts.length - 1) {
        this.#write(part)
        continue
      }
      const fork = this.#fork()
      this.#write(part)
      ends.push(this.#jump())
      fork.b = this.steps.length
    }
    for (const end of ends) this.#land(end)
  }

  #writeRepeat({ part, min, max }: { readonly part: Node; readonly min: number; readonly max: number }): void {
    for (let i = 0; i < min; i++) this.#write(part)
    if (max === Infinity) {
      const at = this.steps.length
      const fork = this.#fork()
      this.#write(part)
      const back = this.#jump()
      back.a = back.b = at
      fork.b = this.steps.length
      return
    }
    const forks: { b: number }[] = []
    for (let i = min; i < max; i++) {
      forks.push(this.#fork())
      this.#write(part)
    }
    for (const fork of forks) fork.b = this.steps.length
  }

  /** A step that goes on with the next one, and with another that is said later. */
  #fork(): { a: number; b: number } {
    const step = { kind: 'fork' as const, a: this.steps.length + 1, b: 0 }
    this.#add(step)
    return step
  }

  /** A step that goes on elsewhere. */
  #jump(): { a: number; b: number } {
    return this.#fork()
  }

  #land(step: { b: number }): void {
    ;(step as { a: number; b: number }).a = step.b = this.steps.length
  }
}
