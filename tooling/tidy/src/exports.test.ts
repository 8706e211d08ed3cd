import { posix } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isPublished, members, read } from './repository.ts'

/** The files that a package's `exports` name, as they stand in the sources. */
const entries = members.filter(isPublished).flatMap(({ folder, manifest }) =>
  Object.values(manifest.exports ?? {})
    .map((conditions) => conditions['@syncline/source'])
    .filter((source) => source !== undefined)
    .map((source) => posix.join(folder, source)),
)

test('packages have entries', () => {
  expect(entries.length).toBeGreaterThan(5)
})

describe.for(entries)('%s', (entry) => {
  test('says of all that it exports what it is', () => {
    expect(
      exportedNames(entry).flatMap(([path, name]) => (isDescribed(path, name) ? [] : [`${path}: ${name}`])),
    ).toEqual([])
  })
})

/** What a file exports: where it is declared, and its name there. */
function exportedNames(path: string): readonly (readonly [path: string, name: string])[] {
  const source = read(path)
  const passedOn = [...source.matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']*)'/gm)].flatMap(
    ([, names = '', from = '']) => namesIn(names).map((name) => [posix.join(posix.dirname(path), from), name] as const),
  )
  const own = [
    ...source.matchAll(/^export (?:declare |abstract |async )*(?:function\*?|class|const|interface|type) (\w+)/gm),
  ]
  return [
    ...passedOn.flatMap(([from, name]) => declaration(from, name)),
    ...own.map(([, name = '']) => [path, name] as const),
  ]
}

/** Follows a name through files that only pass it on. */
function declaration(path: string, name: string): readonly (readonly [string, string])[] {
  const passedOn = [...read(path).matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']*)'/gm)].find(([, names = '']) =>
    namesIn(names).includes(name),
  )
  return passedOn === undefined ? [[path, name]] : declaration(posix.join(posix.dirname(path), passedOn[2] ?? ''), name)
}

const namesIn = (list: string): readonly string[] =>
  list
    .split(',')
    .map((item) =>
      item
        .trim()
        .replace(/^type /, '')
        .replace(/ as .*/, ''),
    )
    .filter((name) => name !== '')

/** The declaration has a comment right above it. Of a function's overloads one is enough. */
const isDescribed = (path: string, name: string): boolean =>
  new RegExp(
    String.raw`\*/\n(?://.*\n)?(?:export )?(?:declare |abstract |async )*(?:function\*?|class|const|interface|type) ${name}\b`,
  ).test(read(path))
