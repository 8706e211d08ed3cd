import { expect, test } from 'vitest'
import { at, files, filesLike, read } from './repository.ts'

const maxLines = 400
const sources = filesLike(/\.(?:ts|tsx|mts|mjs|js)$/)
const isTest = (path: string): boolean => /\.test\.tsx?$|^tests\/|\/testing\//.test(path)

test(`a source file of more than ${maxLines} lines says why it is that long`, () => {
  const tooLong = sources
    .filter((path) => !isTest(path))
    .filter((path) => {
      const text = read(path)
      return text.split('\n').length > maxLines + 1 && !/oxlint-disable (?:eslint\/)?max-lines -- \S.{9,}/.test(text)
    })
  expect(tooLong).toEqual([])
})

test('a lint rule that is switched off outside tests says why', () => {
  const silent = sources
    .filter((path) => !isTest(path))
    .flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, index) =>
          /(?:oxlint|eslint)-disable/.test(line) && !/-disable\S* .*-- \S/.test(line) && !path.startsWith('tooling/')
            ? [at(path, index + 1, line.trim())]
            : [],
        ),
    )
  expect(silent).toEqual([])
})

test('no test is left behind focused', () => {
  expect(sources.filter((path) => isTest(path) && /^\s*(?:test|it|describe)\.only\b/m.test(read(path)))).toEqual([])
})

test('no file speaks of a place outside the repository', () => {
  const outside = new RegExp(
    ['(?<![\\w.])/work/', '\\.\\./shared\\b', '\\bshared/(?:reference|seeds)\\b', '(?<!\\w)/root/'].join('|'),
  )
  const isText = /\.(?:[cm]?[jt]sx?|json|jsonc|md|ya?ml|css|html|sh|txt|svg)$|(?:^|\/)(?:LICENSE|run|\.\w+)$/
  const mentions = files
    .filter((path) => isText.test(path) && path !== 'tooling/tidy/src/sources.test.ts')
    .flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, index) => (outside.test(line) ? [at(path, index + 1, line.trim().slice(0, 100))] : [])),
    )
  expect(mentions).toEqual([])
})
