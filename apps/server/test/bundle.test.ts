import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { expect, test } from 'vitest'

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
const files = readdirSync(new URL('../dist', import.meta.url)).filter((name) => name.endsWith('.js'))

test('the command loads nothing but itself, Node, and the packages that are installed with it', () => {
  const loaded = files.flatMap((file) =>
    [...read(`dist/${file}`).matchAll(/^(?:import|export)\b[^'"]*["']([^'"]+)["']|\bimport\(["']([^'"]+)["']\)/gm)].map(
      ([, name, dynamic]) => name ?? dynamic ?? '',
    ),
  )
  const others = new Set(loaded.filter((name) => !name.startsWith('./') && !isBuiltin(name)))
  expect([...others].filter((name) => !Object.hasOwn(dependencies ?? {}, name))).toEqual([])
  expect([...others]).toContain('better-sqlite3')
})

test('the licences of what is in it come with it', () => {
  const licences = read('dist/LICENCES.txt')
  for (const name of ['commander', 'ws', 'zod']) expect(licences).toMatch(new RegExp(`^${name} \\d`, 'm'))
  for (const name of ['typescript', 'vitest', 'tsup']) {
    expect(devDependencies).toHaveProperty(name)
    expect(licences).not.toMatch(new RegExp(`^${name} \\d`, 'm'))
  }
})
