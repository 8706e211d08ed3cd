import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, expect, test } from 'vitest'

interface Generator {
  readonly newFeature: (name: string | undefined, root?: string) => string[]
}

const root = fileURLToPath(new URL('../../..', import.meta.url))
const script = pathToFileURL(join(root, 'tooling/scripts/new-feature.mjs')).href
const { newFeature } = (await import(script)) as Generator
const scratch = mkdtempSync(join(tmpdir(), 'syncline-new-feature-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const packages = ['core', 'protocol', 'storage', 'server', 'client']

/** Links what a package depends on, the packages of the workspace to their copies. */
function link(name: string): void {
  const from = join(root, 'packages', name, 'node_modules')
  const to = join(scratch, 'packages', name, 'node_modules')
  for (const entry of existsSync(from) ? readdirSync(from).filter((each) => !each.startsWith('.')) : []) {
    if (!entry.startsWith('@')) {
      mkdirSync(to, { recursive: true })
      symlinkSync(join(from, entry), join(to, entry))
      continue
    }
    mkdirSync(join(to, entry), { recursive: true })
    for (const each of readdirSync(join(from, entry))) {
      const isOurs = entry === '@syncline' && packages.includes(each)
      symlinkSync(isOurs ? join(scratch, 'packages', each) : join(from, entry, each), join(to, entry, each))
    }
  }
}

test('what pnpm new:feature writes type-checks on all three sides', { timeout: 300_000 }, () => {
  cpSync(join(root, 'tooling/tsconfig'), join(scratch, 'tooling/tsconfig'), { recursive: true })
  for (const name of packages) {
    cpSync(join(root, 'packages', name), join(scratch, 'packages', name), {
      recursive: true,
      filter: (path) => !['node_modules', 'dist', '.turbo'].includes(basename(path)),
    })
    link(name)
  }
  const written = newFeature('read-receipts', scratch)
  expect(written).toContain('packages/client/src/features/read-receipts/handle.ts')
  expect(written).toContain('packages/server/src/features.ts')
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  for (const name of ['protocol', 'server', 'client']) {
    const folder = join(scratch, 'packages', name)
    execFileSync(process.execPath, [tsc, '-p', join(folder, 'tsconfig.json')], { cwd: folder, encoding: 'utf8' })
  }
  expect(() => newFeature('read-receipts', scratch)).toThrow('There is a feature read-receipts already.')
})

test.each([undefined, '', 'Read', 'read_receipts', '-read', 'read--receipts', '../read'])(
  '%j is no name of a feature',
  (name) => {
    expect(() => newFeature(name, scratch)).toThrow('Usage: pnpm new:feature NAME')
  },
)
