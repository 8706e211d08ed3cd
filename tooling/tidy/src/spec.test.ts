import { describe, expect, test } from 'vitest'
import { filesLike, read, testTitles } from './repository.ts'

const rulePattern = /\[([A-Z]{2,4}\d+)\]/g
const rulesIn = (text: string): string[] => [...text.matchAll(rulePattern)].map(([, rule]) => rule ?? '')
/** A rule stands where a paragraph begins with it in bold; elsewhere it is only referred to. */
const definedPattern = /^\*\*\[([A-Z]{2,4}\d+)\]\*\*/gm
const rulesDefinedIn = (text: string): string[] => [...text.matchAll(definedPattern)].map(([, rule]) => rule ?? '')

const specs = filesLike(/^packages\/[^/]+\/SPEC\.md$/)
const testFiles = filesLike(/(?:\.test\.tsx?|\/testing\/[^/]+\.ts)$/).filter((path) => !path.startsWith('tooling/'))
const quotedBy = new Map<string, string>()
for (const path of testFiles) for (const rule of testTitles(path).flatMap(rulesIn)) quotedBy.set(rule, path)
// A check of the kit is a test: the kit is run against the server and the client, in all encodings and storages.
for (const path of filesLike(/^packages\/conformance\/src\/(?:checks|client)\/.*\.ts$/))
  for (const [, rule = ''] of read(path).matchAll(/\brule: '([A-Z]{2,4}\d+)'/g)) quotedBy.set(rule, path)

describe.each(specs)('%s', (spec) => {
  const rules = [...new Set(rulesDefinedIn(read(spec)))]

  test('has rules', () => {
    expect(rules).not.toEqual([])
  })

  test('has no two rules of one id', () => {
    const all = rulesDefinedIn(read(spec))
    expect(all.filter((rule, i) => all.indexOf(rule) !== i)).toEqual([])
  })

  test('has no rule that no test quotes in its title', () => {
    expect(rules.filter((rule) => !quotedBy.has(rule))).toEqual([])
  })
})

test('every rule that a test quotes stands in exactly one SPEC.md', () => {
  const places = new Map<string, string[]>()
  for (const spec of specs)
    for (const rule of rulesDefinedIn(read(spec))) places.set(rule, [...(places.get(rule) ?? []), spec])
  const astray = [...quotedBy].filter(([rule]) => places.get(rule)?.length !== 1)
  expect(
    astray.map(
      ([rule, path]) => `${rule}, quoted in ${path}, stands in ${places.get(rule)?.join(' and ') ?? 'no SPEC.md'}`,
    ),
  ).toEqual([])
})
