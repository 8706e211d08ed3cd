import { utf8Length, type Value, type ValueMap } from './value.ts'

const TAG_NULL = 0
const TAG_FALSE = 1
const TAG_TRUE = 2
export const TAG_NUMBER = 3
export const TAG_STRING = 4
export const TAG_BYTES = 5
export const TAG_ARRAY = 6
export const TAG_MAP = 7

/** The first of a value's canonical bytes, which tells its type (SPEC [CV2]). */
export function tagOf(value: Value): number {
  switch (typeof value) {
    case 'boolean':
      return value ? TAG_TRUE : TAG_FALSE
    case 'number':
      return TAG_NUMBER
    case 'string':
      return TAG_STRING
    default:
      if (value === null) return TAG_NULL
      return value instanceof Uint8Array ? TAG_BYTES : Array.isArray(value) ? TAG_ARRAY : TAG_MAP
  }
}

/** Compares two values by their canonical bytes, as unsigned numbers, without writing them. Negative, zero or positive. */
export function compareCanonical(a: Value, b: Value): number {
  if (a === b) return 0
  const tag = tagOf(a)
  if (tag !== tagOf(b)) return tag - tagOf(b)
  switch (tag) {
    case TAG_NUMBER:
      return compareNumbers(a as number, b as number)
    case TAG_STRING:
      return compareTexts(a as string, b as string)
    case TAG_BYTES:
      return (a as Uint8Array).length - (b as Uint8Array).length || compareBytes(a as Uint8Array, b as Uint8Array)
    case TAG_ARRAY:
      return compareItems(a as readonly Value[], b as readonly Value[])
    case TAG_MAP:
      return compareMaps(a as ValueMap, b as ValueMap)
    default:
      return 0
  }
}

/** Orders bytes as unsigned numbers, a shorter beginning of the other first. Negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** The names of an object in the order of code units. For the few that most have, insertion beats the built-in sort. */
export function sortedNames(object: object): readonly string[] {
  const names = Object.keys(object)
  if (names.length > 16) return names.sort()
  for (let i = 1; i < names.length; i++) {
    const name = names[i] as string
    let at = i
    for (; at > 0 && (names[at - 1] as string) > name; at--) names[at] = names[at - 1] as string
    names[at] = name
  }
  return names
}

/** The sign is the highest bit of a float64, so that negative numbers come last, the least of them at the end. */
function compareNumbers(a: number, b: number): number {
  const [negativeA, negativeB] = [a < 0, b < 0]
  if (negativeA !== negativeB) return negativeA ? 1 : -1
  return a === b ? 0 : a < b === negativeA ? 1 : -1
}

/** The length in UTF-8 comes first, then its bytes, which are in the order of code points. */
function compareTexts(a: string, b: string): number {
  if (a === b) return 0
  const difference = utf8Length(a) - utf8Length(b)
  if (difference !== 0) return difference
  let at = 0
  while (a.charCodeAt(at) === b.charCodeAt(at)) at++
  return codePointRank(a.charCodeAt(at)) - codePointRank(b.charCodeAt(at))
}

/** Surrogates stand for code points above all other code units. */
function codePointRank(unit: number): number {
  return unit < 0xd800 || unit > 0xdfff ? unit : unit + 0x10000
}

function compareItems(a: readonly Value[], b: readonly Value[]): number {
  let order = a.length - b.length
  for (let i = 0; i < a.length && order === 0; i++) order = compareCanonical(a[i] as Value, b[i] as Value)
  return order
}

function compareMaps(a: ValueMap, b: ValueMap): number {
  const [namesA, namesB] = [sortedNames(a), sortedNames(b)]
  let order = namesA.length - namesB.length
  for (let i = 0; i < namesA.length && order === 0; i++) {
    const [nameA, nameB] = [namesA[i] as string, namesB[i] as string]
    order = compareTexts(nameA, nameB) || compareCanonical(a[nameA] as Value, b[nameB] as Value)
  }
  return order
}
