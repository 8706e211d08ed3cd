import { isMap, type Value } from '../value/value.ts'
import { stem } from './stemmer.ts'
import { STOP_WORDS } from './stop-words.ts'

const MIN_LENGTH = 2
const MAX_LENGTH = 40
const WORD = /[\p{L}\p{N}]+/gu

/**
 * The terms of words that were asked for before, '' where a word is none: texts repeat their words, and stemming is most of
 * the work. When there are many, those that were not asked for since the last time are forgotten.
 */
let termsByWord = new Map<string, string>()
let olderTermsByWord = new Map<string, string>()
const MAX_WORDS = 65_536

/** What the stems of longer words may lack of a word that is still being typed (SPEC [SR3]). */
const ENDINGS = 's ed ing y al ful ness ous ent ant ity ism ion tion ator ative bility ational'.split(' ')

/**
 * The terms of a text in its order (SPEC [SR1]): runs of letters and digits in lower case, of 2 to 40 characters, without
 * stop words, as stems. The same term may come several times.
 */
export function searchTerms(text: string): string[] {
  const terms: string[] = []
  for (const word of text.toLowerCase().match(WORD) ?? []) {
    const term = termOf(word)
    if (term !== '') terms.push(term)
  }
  return terms
}

/** What a query looks for: one term, or with a prefix also all that begin with it, and some stems. */
export interface QueryTerm {
  readonly term: string
  /** A word that is still being typed. */
  readonly prefix?: string
  /** Stems that longer words have which begin with the prefix, and that do not begin with it themselves. */
  readonly stems?: readonly string[]
}

/**
 * What a query looks for (SPEC [SR1]): its terms, each once. If its last word is still being typed, that is the last term
 * and stands for everything that begins with it (SPEC [SR3]).
 */
export function queryTerms(query: string, isUnfinished: boolean = false): readonly QueryTerm[] {
  const last = isUnfinished ? (/[\p{L}\p{N}]+$/u.exec(query)?.[0] ?? '') : ''
  const terms: QueryTerm[] = []
  const finished = last === '' ? query : query.slice(0, -last.length)
  for (const term of new Set(searchTerms(finished))) terms.push({ term })
  for (const word of last.toLowerCase().match(WORD) ?? []) {
    if (!isWord(word)) continue
    const term = stem(word)
    const stems = shorterStems(word).filter((other) => other !== term)
    terms.push({ term, prefix: word, ...(stems.length === 0 ? {} : { stems }) })
  }
  return terms
}

/** Says whether a term of a text is one that is looked for. */
export function isQueryTerm({ term, prefix, stems }: QueryTerm, candidate: string): boolean {
  if (candidate === term) return true
  return prefix !== undefined && (candidate.startsWith(prefix) || stems?.includes(candidate) === true)
}

/** The texts of the named fields of a value, in this order. What is no text is not searched. */
export function searchedText(value: Value | undefined, fields: readonly string[]): string {
  if (value === undefined || !isMap(value)) return ''
  let text = ''
  for (const field of fields) {
    const member = Object.hasOwn(value, field) ? value[field] : undefined
    if (typeof member === 'string') text = text === '' ? member : `${text} ${member}`
  }
  return text
}

function isWord({ length }: string): boolean {
  return length >= MIN_LENGTH && length <= MAX_LENGTH
}

function termOf(word: string): string {
  let term = termsByWord.get(word)
  if (term !== undefined) return term
  const known = copyOf(word)
  term = olderTermsByWord.get(word) ?? (isWord(word) && !STOP_WORDS.has(word) ? stem(known) : '')
  if (termsByWord.size >= MAX_WORDS) {
    olderTermsByWord = termsByWord
    termsByWord = new Map()
  }
  termsByWord.set(known, term)
  return term
}

/** The same word without the text that it was cut from: an engine may keep the whole of that for as long as the word is kept. */
function copyOf(word: string): string {
  return `_${word}`.slice(1)
}

/** Running has the stem run: so runn and runni are to find it as well. */
function shorterStems(word: string): string[] {
  const stems = new Set<string>()
  for (const ending of ENDINGS) {
    for (let typed = 0; typed < ending.length; typed++) {
      if (!word.endsWith(ending.slice(0, typed))) continue
      const stemmed = stem(word + ending.slice(typed))
      if (!stemmed.startsWith(word)) stems.add(stemmed)
    }
  }
  return [...stems].sort()
}
