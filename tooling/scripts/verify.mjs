// `npm run verify`: everything that must hold before a change is merged. Every step runs even if one before it failed.

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finish, runSuites } from './test.mjs'
import { isPublishable, prepareWorkspace, root, run, step, workspacePackages } from './workspace.mjs'

const sourceFolders = ['packages', 'apps', 'examples', 'tests', 'bench', 'tooling'].filter((folder) =>
  existsSync(join(root, folder)),
)

export async function main() {
  const { env } = await prepareWorkspace()
  const turbo = (task) => run('turbo', ['run', task, '--continue', '--output-logs=errors-only'], { env })
  const steps = [
    ['format', () => run('oxfmt', ['--check'], { env })],
    ['lint', () => run('oxlint', ['--type-aware'], { env })],
    ['typecheck', () => turbo('typecheck')],
    ['boundaries', () => run('depcruise', ['--config', '.dependency-cruiser.mjs', ...sourceFolders], { env })],
    ['unused code', () => run('knip', [], { env })],
    ['build', () => turbo('build')],
    ...workspacePackages()
      .filter(isPublishable)
      .map((member) => [`package ${member.manifest.name}`, () => checkPackage(member, env)]),
    ['bundle size', () => run('size-limit', [], { env })],
  ]

  const failedSteps = []
  for (const [title, work] of steps) {
    if (!(await step(title, work))) failedSteps.push(title)
  }
  finish(await runSuites(env), failedSteps)
}

/** Packs the package as npm would publish it and checks what a user would get: its files, its exports, its types. */
async function checkPackage({ path }, env) {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-pack-'))
  try {
    const packed = await run('pnpm', ['pack', '--pack-destination', folder], { cwd: path, env })
    if (packed.code !== 0) return packed
    const tarball = join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '')
    const results = [
      await run('publint', ['run', tarball, '--strict'], { env }),
      await run('attw', [tarball, '--profile', 'esm-only'], { env }),
    ]
    return {
      code: Math.max(...results.map(({ code }) => code)),
      output: results.map(({ output }) => output).join('\n'),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
