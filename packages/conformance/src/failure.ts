/** A rule does not hold: what was to come, and what came instead. */
export class Failure extends Error {
  readonly expected: string
  readonly seen: string

  constructor(expected: string, seen: string) {
    super(`expected ${expected}, saw ${seen}`)
    this.expected = expected
    this.seen = seen
  }
}

/** A check cannot be made here, for this reason. */
export class Skipped extends Error {}

const MAX_SHOWN = 300

/** A value as a report shows it, cut where it is long. */
export function shown(value: unknown): string {
  const text = value instanceof Uint8Array ? `bytes ${Buffer.from(value).toString('hex')}` : textOf(value)
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`
}

function textOf(value: unknown): string {
  return value === undefined
    ? 'nothing'
    : JSON.stringify(value, (_, item: unknown) =>
        item instanceof Uint8Array ? { $bytes: Buffer.from(item).toString('base64') } : item,
      )
}

/** Fails unless something has every member of an expected shape, as deep as that goes. */
export function expectShape(seen: unknown, expected: unknown, what: string): void {
  if (!hasShape(seen, expected)) throw new Failure(`${what} ${shown(expected)}`, shown(seen))
}

/** Fails unless a condition holds. */
export function expectThat(condition: boolean, expected: string, seen: unknown): asserts condition {
  if (!condition) throw new Failure(expected, typeof seen === 'string' ? seen : shown(seen))
}

/** Fails unless two values are the same, the order of members apart. */
export function expectSame(seen: unknown, expected: unknown, what: string): void {
  if (!isSame(seen, expected)) throw new Failure(`${what} ${shown(expected)}`, shown(seen))
}

/** Says whether two values are the same, the order of members apart. */
export function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0
  }
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  const [namesOfA, namesOfB] = [definedNames(a), definedNames(b)]
  return (
    Array.isArray(a) === Array.isArray(b) &&
    namesOfA.length === namesOfB.length &&
    namesOfA.every((name) => Object.hasOwn(b, name) && isSame(member(a, name), member(b, name)))
  )
}

function hasShape(seen: unknown, expected: unknown): boolean {
  if (typeof expected !== 'object' || expected === null || expected instanceof Uint8Array) return isSame(seen, expected)
  if (typeof seen !== 'object' || seen === null || Array.isArray(seen) !== Array.isArray(expected)) return false
  if (Array.isArray(expected) && (seen as unknown[]).length !== expected.length) return false
  return definedNames(expected).every((name) => hasShape(member(seen, name), member(expected, name)))
}

const member = (value: object, name: string): unknown => (value as Record<string, unknown>)[name]
const definedNames = (value: object): readonly string[] =>
  Object.keys(value).filter((name) => member(value, name) !== undefined)
