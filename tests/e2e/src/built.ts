import { spawnSync } from 'node:child_process'
import { globSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CLI } from './server-process.ts'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('../../..', import.meta.url))
const page = join(dirname(require.resolve('@syncline/example-todo/package.json')), 'dist', 'app.js')

/** Before the tests: what they run is built, and from the sources as they are. After `npm test` has built, nothing is left to do. */
export default function setup(): void {
  const builtMs = Math.min(modifiedMs(CLI), modifiedMs(page))
  const sources = globSync(['packages/*/src/**', 'apps/server/src/**', 'examples/todo/src/**'], { cwd: root })
  if (sources.every((path) => /\.test\.tsx?$/.test(path) || modifiedMs(join(root, path)) <= builtMs)) return
  console.log('Building the server and the todo page.')
  const args = ['exec', 'turbo', 'run', 'build', '--filter=@syncline/server-cli...', '--output-logs=errors-only']
  const { status, stdout, stderr } = spawnSync('pnpm', args, { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new Error(`The build failed:\n${stdout}${stderr}`)
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
