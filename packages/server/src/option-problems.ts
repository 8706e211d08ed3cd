import * as z from 'zod'

/** What is wrong, a sentence each, in words that name the option and say what it is. */
export function problemsOf(schema: z.ZodType, issue: z.core.$ZodIssue): string[] {
  const path = issue.path.join('.')
  const part = partAt(schema, issue.path)
  if (issue.code !== 'unrecognized_keys') {
    const what = issue.message.replace(/^Invalid input: /, '')
    return [`${path || 'options'}: ${what}${part?.description === undefined ? '' : `. It is: ${part.description}`}`]
  }
  const group = inside(part)
  const known = group instanceof z.ZodObject ? Object.keys(group.shape) : []
  const prefix = path === '' ? '' : `${path}.`
  return issue.keys.map((key) => {
    const nearest = closest(key, known)
    return `${prefix}${key} is no option${nearest === undefined ? '' : `; did you mean ${prefix}${nearest}?`}`
  })
}

/** What is declared for the options at a path. */
function partAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodType | undefined {
  let part: unknown = schema
  for (const name of path) {
    const group = inside(part)
    if (group instanceof z.ZodObject) part = group.shape[String(name)]
    else if (group instanceof z.ZodRecord) part = group.valueType
    else part = group instanceof z.ZodArray ? group.element : undefined
  }
  return part as z.ZodType | undefined
}

/** A declaration without its default. */
function inside(part: unknown): unknown {
  const hasDefault = part instanceof z.ZodDefault || part instanceof z.ZodPrefault || part instanceof z.ZodOptional
  return hasDefault ? inside(part.unwrap()) : part
}

function closest(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitution, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
