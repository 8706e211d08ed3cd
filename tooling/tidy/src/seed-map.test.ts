import { describe, expect, test } from 'vitest'
import { at, filesLike, problemOfCitation, read } from './repository.ts'

const kinds = ['option', 'method', 'message', 'field', 'endpoint', 'env', 'operation', 'code', 'behaviour']
const header = ['seed name', 'kind', 'ours', 'default', 'test', 'state']
const tables = filesLike(/^docs\/seed-map\/(?!README).+\.md$/)

interface Row {
  readonly lineNumber: number
  readonly section: string
  readonly cells: readonly string[]
}

const cellsOf = (line: string): string[] =>
  line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('\\|', '|'))

function rowsOf(path: string): Row[] {
  let section = ''
  return read(path)
    .split('\n')
    .flatMap((line, index) => {
      if (line.startsWith('## ')) section = line
      if (!line.startsWith('|')) return []
      const cells = cellsOf(line)
      return cells[0] === header[0] || cells.every((cell) => /^-+$/.test(cell))
        ? []
        : [{ lineNumber: index + 1, section, cells }]
    })
}

/** What is wrong with a row of the map, or undefined. */
function problemOfRow({ cells }: Row): string | undefined {
  if (cells.length !== header.length) return `has ${cells.length} cells instead of ${header.length}`
  const [seedName = '', kind = '', ours = '', , citation = '', state = ''] = cells
  if (seedName === '') return 'names nothing'
  if (!kinds.includes(kind)) return `"${kind}" is not a kind: ${kinds.join(', ')}`
  if (ours === '' || ours === '?' || ours === '-') return 'says nothing of ours'
  if (state === 'open') return undefined
  if (state === 'done') return citation === '' ? 'is done and cites no test' : problemOfCitation(citation)
  if (/^declined: .{10,}docs\/decisions|^declined: .{10,}\.\.\/decisions/.test(state)) return undefined
  return `"${state}" is not a state: open, done, or "declined: reason" with its page in docs/decisions`
}

test('the map has a table for each of the five documents', () => {
  expect(tables.map((path) => path.split('/').at(-1))).toEqual([
    'datasole-server-api.md',
    'noex-server.md',
    'topgun-protocol-specification.md',
    'topgun-rust-server-api.md',
    'topgun-server-api.md',
  ])
})

describe.each(tables)('%s', (path) => {
  const rows = rowsOf(path)

  test('has rows', () => {
    expect(rows.length).toBeGreaterThan(50)
  })

  test('says in every row what is ours, and cites in every row that is done a test that exists', () => {
    const problems = rows.flatMap((row) => {
      const problem = problemOfRow(row)
      return problem === undefined ? [] : [at(path, row.lineNumber, problem)]
    })
    expect(problems).toEqual([])
  })

  test('names nothing twice in a section', () => {
    const seen = new Set<string>()
    const repeated = rows.filter(({ section, cells }) => {
      const name = `${section} ${cells[0]} ${cells[1]}`
      if (seen.has(name)) return true
      seen.add(name)
      return false
    })
    expect(repeated.map(({ lineNumber, cells }) => at(path, lineNumber, `${cells[0]} is there already`))).toEqual([])
  })
})
