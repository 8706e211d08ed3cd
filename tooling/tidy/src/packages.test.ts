import { describe, expect, test } from 'vitest'
import { exists, files, filesLike, isPublished, members, read, readManifest } from './repository.ts'

test('the workspace has packages', () => {
  expect(members.map(({ folder }) => folder)).toContain('packages/core')
})

describe.each(members)('$folder', (member) => {
  const { folder, manifest } = member
  const sources = files.filter(
    (path) => path.startsWith(`${folder}/`) && /\.tsx?$/.test(path) && !path.endsWith('.config.ts'),
  )

  test('says what it is and under which licence', () => {
    expect(manifest.license).toBe('Apache-2.0')
    expect(manifest.description ?? '').toMatch(/^.{20,}\.$/)
  })

  test('has scripts by which the whole workspace type-checks and tests it', () => {
    if (sources.length > 0) expect(manifest.scripts?.['typecheck'] ?? '').not.toBe('')
    if (sources.some((path) => path.endsWith('.test.ts'))) expect(manifest.scripts?.['test']).toBeDefined()
    // The one command over all suites passes arguments of vitest to each, and reads its report.
    if (manifest.scripts?.['test'] !== undefined)
      expect(manifest.scripts['test']).toMatch(/(?:^|&& )vitest run(?: [^&]*)?$/)
  })

  if (isPublished(member)) {
    test('has a README that begins with its name', () => {
      expect(exists(`${folder}/README.md`)).toBe(true)
      expect(read(`${folder}/README.md`).split('\n')[0]).toBe(`# ${manifest.name}`)
    })

    test('depends on published packages alone, and its source maps hold the sources, which are not published', () => {
      const needed = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
      const kept = members.filter((other) => !isPublished(other)).map((other) => other.manifest.name)
      expect(needed.filter((name) => kept.includes(name))).toEqual([])
      const build = exists(`${folder}/tsconfig.build.json`) ? read(`${folder}/tsconfig.build.json`) : ''
      if (build.includes('"sourceMap": true')) expect(build).toContain('"inlineSources": true')
    })
  }
})

test('the workspace itself is under the Apache licence, with its whole text', () => {
  expect(readManifest('package.json').license).toBe('Apache-2.0')
  expect(read('LICENSE')).toMatch(/Apache License\s+Version 2\.0, January 2004[\s\S]+END OF TERMS AND CONDITIONS/)
})

test('changesets name published packages alone, or none could be released', () => {
  const published = members.filter(isPublished).map(({ manifest }) => manifest.name)
  const named = filesLike(/^\.changeset\/(?!README).+\.md$/).flatMap((path) =>
    [...read(path).matchAll(/^['"](@[^'"]+)['"]: \w+$/gm)].map(([, name]) => ({ path, name })),
  )
  expect(named.length).toBeGreaterThan(0)
  expect(named.filter(({ name }) => !published.includes(name as string))).toEqual([])
})
