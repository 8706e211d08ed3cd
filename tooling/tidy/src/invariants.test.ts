import { describe, expect, test } from 'vitest'
import { exists, problemOfCitation, read } from './repository.ts'

const fieldNames = ['Scope', 'Not promised', 'Kept by', 'Enforced by'] as const
type FieldName = (typeof fieldNames)[number]

interface Invariant {
  readonly code: string
  readonly sentence: string
  readonly fields: Readonly<Record<FieldName, string>>
}

const promises: readonly Invariant[] = read('INVARIANTS.md')
  .split(/^### /m)
  .slice(1)
  .map((text) => {
    const field = (name: string): string =>
      new RegExp(`^- ${name}: (.+(?:\\n {2}.+)*)`, 'm').exec(text)?.[1]?.replaceAll(/\n {2}/g, ' ') ?? ''
    return {
      code: /^INV-\d+/.exec(text)?.[0] ?? text.slice(0, 20),
      sentence: [...text.matchAll(/^> (.+)$/gm)].map(([, line]) => line).join(' '),
      fields: Object.fromEntries(fieldNames.map((name) => [name, field(name)])) as Record<FieldName, string>,
    }
  })

const backticked = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, quoted]) => quoted ?? '')

test('the promises are numbered without a gap', () => {
  expect(promises.length).toBeGreaterThan(0)
  expect(promises.map(({ code }) => code)).toEqual(promises.map((_, index) => `INV-${index + 1}`))
})

describe.each(promises)('$code', ({ code, sentence, fields }) => {
  test('has its sentence, its scope, what is not promised, who keeps it and what enforces it', () => {
    expect(sentence).not.toBe('')
    expect(fieldNames.filter((name) => fields[name] === '')).toEqual([])
  })

  test('is enforced by tests that exist and quote it, or is UNPROVEN', () => {
    const enforcedBy = fields['Enforced by']
    if (/^UNPROVEN\b/.test(enforcedBy)) {
      expect(backticked(enforcedBy)).toEqual([])
      return
    }
    const citations = backticked(enforcedBy)
    expect(citations).not.toEqual([])
    expect(citations.map(problemOfCitation).filter((problem) => problem !== undefined)).toEqual([])
    expect(citations.filter((citation) => !new RegExp(`${code}\\b`).test(citation))).toEqual([])
    expect(backticked(fields['Kept by']).filter((path) => !exists(path))).toEqual([])
  })
})
