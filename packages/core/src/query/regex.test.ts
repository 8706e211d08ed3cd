import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LAW, RUNS } from '../../test/property.ts'
import { BadPattern, MAX_REGEX_SIZE, compileRegex } from './regex.ts'

const isFound = (pattern: string, text: string): boolean => compileRegex(pattern).isFoundIn(text)

describe('a regular expression', () => {
  const source = fc.letrec<{ choice: string; sequence: string; term: string; atom: string }>((tie) => ({
    choice: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      tie('sequence'),
      fc.array(tie('sequence'), { minLength: 2, maxLength: 3 }).map((each) => each.join('|')),
    ),
    sequence: fc.array(tie('term'), { maxLength: 4 }).map((each) => each.join('')),
    term: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      tie('atom'),
      fc.constantFrom('^', '$', '\\b', '\\B'),
      fc
        .tuple(tie('atom'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{2,}', '{0}'), fc.constantFrom('', '?'))
        .map((each) => each.join('')),
    ),
    atom: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      fc.constantFrom(
        'a',
        'b',
        '1',
        ' ',
        '-',
        '.',
        '\\d',
        '\\W',
        '\\s',
        '\\S',
        '\\.',
        '\\-',
        '[ab]',
        '[^a]',
        '[]',
        '[^]',
      ),
      fc.constantFrom(
        '[a-c1]',
        '[\\d-]',
        '[^\\s\\d]',
        '[\\W_]',
        '[a\\-z]',
        '\\x61',
        '\\u00e9',
        '\\n',
        '{',
        '}',
        ']',
        'é',
        '😀',
      ),
      fc.tuple(fc.constantFrom('(', '(?:', '(?<n>'), tie('choice')).map(([open, inner]) => `${open}${inner})`),
    ),
  })).choice
  const text = fc.string({
    unit: fc.constantFrom('a', 'b', 'c', '1', ' ', '-', '_', '.', '\n', 'é', '😀', '{', '\u2028'),
    maxLength: 12,
  })

  it('[QY12] finds what JavaScript finds', LAW, () => {
    fc.assert(
      fc.property(source, fc.array(text, { minLength: 1, maxLength: 5 }), (pattern, texts) => {
        let native: RegExp
        try {
          native = new RegExp(pattern)
        } catch {
          // A name that is used twice.
          return
        }
        let own: (text: string) => boolean
        try {
          own = compileRegex(pattern).isFoundIn
        } catch (error) {
          expect((error as Error).message).toContain('longer')
          return
        }
        for (const each of texts) expect([pattern, each, own(each)]).toEqual([pattern, each, native.test(each)])
      }),
      { numRuns: RUNS },
    )
  })

  it.each<[string, string, string, boolean]>([
    ['a part', 'ell', 'hello', true],
    ['upper and lower case as written', 'HELLO', 'hello', false],
    ['both ends', '^h.*o$', 'hello', true],
    ['words', '\\bcat\\b', 'a cat.', true],
    ['words in others', '\\bcat\\b', 'concat', false],
    ['an address', '^[\\w.+-]+@[\\w-]+\\.[a-z]{2,}$', 'ada@example.com', true],
    ['alternatives', '^(?:red|green)$', 'green', true],
    ['nothing', '', '', true],
  ])('[QY12] %s', (_, pattern, each, expected) => {
    expect(isFound(pattern, each)).toBe(expected)
  })

  it.each<[string, string]>([
    ['a backreference', '(a)\\1'],
    ['a look ahead', 'a(?=b)'],
    ['a look behind', '(?<!a)b'],
    ['a class of Unicode', '\\p{L}'],
    ['a group that is open', '(a'],
    ['a group that is not open', 'a)'],
    ['a set that is open', '[a'],
    ['a range backwards', '[z-a]'],
    ['a repetition of nothing', '*a'],
    ['a repetition of a repetition', 'a**'],
    ['a repetition of an end', '^*'],
    ['a backslash at the end', 'a\\'],
    ['counts backwards', 'a{3,1}'],
    ['more than it may have', `a{${MAX_REGEX_SIZE}}`],
    ['repetitions of repetitions', '((a{9}){9}){9}'],
    ['groups without end', `${'('.repeat(1_000)}${')'.repeat(1_000)}`],
  ])('[QY12] %s is refused', (_, pattern) => {
    expect(() => compileRegex(pattern)).toThrow(BadPattern)
  })

  it('[QY12] whatever the pattern is, it is compiled or refused', LAW, () => {
    const any = fc.string({ unit: fc.constantFrom(...Array.from('ab1()[]{}*+?|^$\\.,-<>=!:dwsxu0')), maxLength: 20 })
    fc.assert(
      fc.property(any, text, (pattern, each) => {
        try {
          expect(compileRegex(pattern).isFoundIn(each)).toBe(new RegExp(pattern).test(each))
        } catch (error) {
          if (!(error instanceof BadPattern)) throw error
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('[QY12] a pattern of more sets of steps than are kept finds what JavaScript finds', () => {
    const pattern = '(a|b)*a(a|b){9}c$'
    const { isFoundIn } = compileRegex(pattern)
    // The first is known to the end, the last of them not.
    const texts = ['aaaaaaaaaac']
    for (let i = 0; i < 1_024; i++)
      texts.push(`${i.toString(2).padStart(10, '0').replaceAll('0', 'b').replaceAll('1', 'a')}c`)
    const native = new RegExp(pattern)
    for (const each of [...texts, ...texts]) expect([each, isFoundIn(each)]).toEqual([each, native.test(each)])
    expect(isFoundIn(texts.join(''))).toBe(native.test(texts.join('')))
  })

  it('[QY12] the time is linear in the text where others need for ever', () => {
    const long = 'a'.repeat(100_000)
    for (const pattern of ['^(a+)+$', '(a|a)*b', '(.*)*b', '(a?){15}a{15}$', '(x+x+)+y']) {
      const startedAt = performance.now()
      compileRegex(pattern).isFoundIn(`${long}!`)
      expect(performance.now() - startedAt).toBeLessThan(2_000)
    }
  })
})
