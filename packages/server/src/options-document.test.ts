import { expect, test } from 'vitest'
import * as z from 'zod'
import { builtInFeatures } from './features.ts'
import { optionsSchema } from './options.ts'

const HEAD = `# The options of a server

What \`createServer\` takes. All may be left out but \`jwtSecret\`, or \`auth: 'none'\` in its place. The command takes the same in its configuration file.

| option | takes | what |
| --- | --- | --- |
| \`storage\` | a \`StorageAdapter\` | where records are kept: \`sqliteStorage({ path })\` of \`@syncline/storage/sqlite\`. Without it the server runs in memory |
| \`logLevel\` | \`debug\`, \`info\`, \`warn\`, \`error\` | the least level of what is told on stderr; \`info\` by default |
| \`nodeId\` | a text | names this node in stamps; a new one for each run by default |
| \`onRequest\` | a function | answers HTTP requests that the server has no endpoint for; 404 by default |
| \`onFatal\` | a function | called after a failure that leaves no other way than to end; exits the process with code 70 by default |
| \`features\` | a list | the features to run: \`[...builtInFeatures, mine]\` |
| \`env\` | an \`Env\` | time, chance and narration, for tests on a clock of their own |

Below, an option of a group is given inside it: \`queries: { maxResultRows: 100_000 }\`.
`

/** What an option takes, in a word, and its default. */
function kindOf(part: unknown): { readonly takes: string; readonly standard?: unknown; readonly inner: unknown } {
  if (part instanceof z.ZodDefault || part instanceof z.ZodPrefault)
    return { ...kindOf(part.unwrap()), standard: part.def.defaultValue }
  if (part instanceof z.ZodOptional) return kindOf(part.unwrap())
  const takes =
    part instanceof z.ZodEnum
      ? part.options.map((option) => `\`${option}\``).join(' or ')
      : part instanceof z.ZodNumber
        ? 'number'
        : part instanceof z.ZodBoolean
          ? 'true or false'
          : part instanceof z.ZodArray
            ? 'list'
            : part instanceof z.ZodObject || part instanceof z.ZodRecord
              ? 'object'
              : 'text'
  return { takes, inner: part }
}

function rowsOf(group: z.ZodObject, prefix: string): string[] {
  return Object.entries(group.shape).flatMap(([name, part]) => {
    const { takes, standard, inner } = kindOf(part)
    const path = `${prefix}${name}`
    if (inner instanceof z.ZodObject) return rowsOf(inner, `${path}.`)
    const what = (part as z.ZodType).description
    expect(what, `${path} is described`).toBeDefined()
    const parts =
      inner instanceof z.ZodRecord ? inner.valueType : inner instanceof z.ZodArray ? inner.element : undefined
    const members =
      parts instanceof z.ZodObject ? rowsOf(parts, `${path}${inner instanceof z.ZodArray ? '[]' : '.<map>'}.`) : []
    return [
      `| \`${path}\` | ${takes} | ${standard === undefined ? '' : `\`${JSON.stringify(standard)}\``} | ${what} |`,
      ...members,
    ]
  })
}

test('OPTIONS.md has every option with its default and what it means (pnpm test -u writes it anew)', async () => {
  const groups: string[] = []
  const rows = rowsOf(optionsSchema(builtInFeatures), '')
  const table = (title: string, lines: readonly string[]): string =>
    [`## ${title}`, '', '| option | takes | default | what |', '| --- | --- | --- | --- |', ...lines, ''].join('\n')
  const groupOf = (row: string): string => /^\| `([a-zA-Z]+)\./.exec(row)?.[1] ?? ''
  for (const name of new Set(rows.map(groupOf))) {
    groups.push(
      table(
        name || 'The server',
        rows.filter((row) => groupOf(row) === name),
      ),
    )
  }
  await expect([HEAD, ...groups].join('\n')).toMatchFileSnapshot('../OPTIONS.md')
})
