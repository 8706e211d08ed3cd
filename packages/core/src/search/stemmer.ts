// Porter's stemmer: M. F. Porter, "An algorithm for suffix stripping", Program 14 (1980), with the two departures of its
// author's own program (bli, logi). A word is [C](VC)^m[V]: C and V are runs of consonants and vowels, m is its measure.

const CONSONANTS = '[^aeiou][^aeiouy]*'
const VOWELS = '[aeiouy][aeiou]*'
const MEASURE_ABOVE_0 = new RegExp(`^(?:${CONSONANTS})?${VOWELS}${CONSONANTS}`)
const MEASURE_1 = new RegExp(`^(?:${CONSONANTS})?${VOWELS}${CONSONANTS}(?:${VOWELS})?$`)
const MEASURE_ABOVE_1 = new RegExp(`^(?:${CONSONANTS})?(?:${VOWELS}${CONSONANTS}){2}`)
const HAS_VOWEL = new RegExp(`^(?:${CONSONANTS})?[aeiouy]`)
/** Consonants, a vowel, and a consonant other than w, x and y: such as hop, whose final e was lost in hoping. */
const IS_SHORT = new RegExp(`^${CONSONANTS}[aeiouy][^aeiouwxy]$`)
const DOUBLE_CONSONANT = /([^aeiouylsz])\1$/

const STEP_2 = replacements(
  'ational ate tional tion enci ence anci ance izer ize bli ble alli al entli ent eli e ousli ous ization ize ation ate',
  'ator ate alism al iveness ive fulness ful ousness ous aliti al iviti ive biliti ble logi log',
)
const STEP_3 = replacements('icate ic ative - alize al iciti ic ical ic ful - ness -')
const STEP_4 = /^(.+?)(al|ance|ence|er|ic|able|ible|ant|ement|ment|ent|ou|ism|ate|iti|ous|ive|ize)$|^(.+?[st])ion$/

/** The stem that the forms of an English word in lower case share. It need not be a word. */
export function stem(word: string): string {
  if (word.length < 3) return word
  // A y that begins a word is a consonant.
  const isYFirst = word.startsWith('y')
  let stemmed = isYFirst ? `Y${word.slice(1)}` : word
  stemmed = withoutParticiple(withoutPlural(stemmed))
  if (stemmed.endsWith('y') && HAS_VOWEL.test(stemmed.slice(0, -1))) stemmed = `${stemmed.slice(0, -1)}i`
  stemmed = replaced(replaced(stemmed, STEP_2), STEP_3)
  const suffixed = STEP_4.exec(stemmed)
  const rest = suffixed?.[1] ?? suffixed?.[3]
  if (rest !== undefined && MEASURE_ABOVE_1.test(rest)) stemmed = rest
  if (stemmed.endsWith('e')) {
    const before = stemmed.slice(0, -1)
    if (MEASURE_ABOVE_1.test(before) || (MEASURE_1.test(before) && !IS_SHORT.test(before))) stemmed = before
  }
  if (stemmed.endsWith('ll') && MEASURE_ABOVE_1.test(stemmed)) stemmed = stemmed.slice(0, -1)
  return isYFirst ? `y${stemmed.slice(1)}` : stemmed
}

function withoutPlural(word: string): string {
  if (/.(?:ss|i)es$/.test(word)) return word.slice(0, -2)
  return /.[^s]s$/.test(word) ? word.slice(0, -1) : word
}

function withoutParticiple(word: string): string {
  if (/.eed$/.test(word)) return MEASURE_ABOVE_0.test(word.slice(0, -3)) ? word.slice(0, -1) : word
  const rest = /^(.+?)(?:ed|ing)$/.exec(word)?.[1]
  if (rest === undefined || !HAS_VOWEL.test(rest)) return word
  if (/(?:at|bl|iz)$/.test(rest)) return `${rest}e`
  if (DOUBLE_CONSONANT.test(rest)) return rest.slice(0, -1)
  return IS_SHORT.test(rest) ? `${rest}e` : rest
}

/** Suffixes and what stands in their place, longest first. */
function replacements(...lists: readonly string[]): readonly (readonly [suffix: string, replacement: string])[] {
  const words = lists.join(' ').split(' ')
  const pairs: [string, string][] = []
  for (let i = 0; i < words.length; i += 2) {
    const replacement = words[i + 1] as string
    pairs.push([words[i] as string, replacement === '-' ? '' : replacement])
  }
  return pairs.sort(([a], [b]) => b.length - a.length)
}

function replaced(word: string, pairs: ReturnType<typeof replacements>): string {
  for (const [suffix, replacement] of pairs) {
    if (word.length <= suffix.length || !word.endsWith(suffix)) continue
    const rest = word.slice(0, -suffix.length)
    return MEASURE_ABOVE_0.test(rest) ? rest + replacement : word
  }
  return word
}
