// What every command of the bootstrap shares: where the workspace is, how it is set up, and how a step is run and told.

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

const isWindows = process.platform === 'win32'
const isTerminal = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (code, text) => (isTerminal ? `\u001B[${code}m${text}\u001B[0m` : text)

/** A step that ended badly; its message is all that the reader needs. */
export class StepFailed extends Error {
  name = 'StepFailed'
}

export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** Every package of the workspace, in the order of pnpm-workspace.yaml: `{ path, folder, manifest }`. */
export function workspacePackages() {
  const patterns = readFileSync(join(root, 'pnpm-workspace.yaml'), 'utf8').matchAll(/^ {2}- '?([\w./*-]+)'?$/gm)
  const folders = [...patterns].flatMap(([, pattern]) => {
    if (!pattern.endsWith('/*')) return [pattern]
    const parent = pattern.slice(0, -2)
    if (!existsSync(join(root, parent))) return []
    return readdirSync(join(root, parent)).map((name) => `${parent}/${name}`)
  })
  return folders
    .filter((folder) => existsSync(join(root, folder, 'package.json')))
    .map((folder) => ({ folder, path: join(root, folder), manifest: readJson(join(root, folder, 'package.json')) }))
}

export const isPublishable = ({ manifest }) => manifest.private !== true

export function formatDuration(ms) {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

export const tellPassed = (title, ms) => console.log(`${paint(32, '✓')} ${title} ${paint(2, formatDuration(ms))}`)
export const tellFailed = (title, ms) => console.log(`${paint(31, '✗')} ${title} ${paint(2, formatDuration(ms))}`)

const running = new Set()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    for (const child of running) child.kill(signal)
    if (running.size === 0) process.exit(1)
  })
}

/** Runs a program to its end: `{ code, output }`, with stdout and stderr in the order in which they came. */
export function run(program, args, { cwd = root, env = process.env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, shell: isWindows, stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    const chunks = []
    child.stdout.on('data', (chunk) => chunks.push(chunk))
    child.stderr.on('data', (chunk) => chunks.push(chunk))
    const end = (code, reason = '') => {
      running.delete(child)
      resolve({ code, output: Buffer.concat(chunks).toString() + reason })
    }
    child.once('error', (error) => end(1, String(error)))
    child.once('close', (code, signal) => end(code ?? 1, signal === null ? '' : `ended by ${signal}\n`))
  })
}

/** Runs one named step, tells it in one line, and shows its output only where it failed. True where it passed. */
export async function step(title, work) {
  const startedAt = Date.now()
  const { code, output } = await work()
  const ms = Date.now() - startedAt
  if (code === 0) tellPassed(title, ms)
  else {
    tellFailed(title, ms)
    console.log(output.trimEnd().replace(/^/gm, '  '))
  }
  return code === 0
}

/** The environment of the tools: their programs first on the path, none of npx's own settings, no telemetry. */
function toolEnvironment(...extraPaths) {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1', TURBO_NO_UPDATE_NOTIFIER: '1' }
  if (!isTerminal) env.NO_COLOR = '1'
  delete env.npm_config_call
  delete env.npm_config_package
  const pathName = Object.keys(env).find((name) => name.toUpperCase() === 'PATH') ?? 'PATH'
  env[pathName] = [join(root, 'node_modules', '.bin'), ...extraPaths, env[pathName]].filter(Boolean).join(delimiter)
  return env
}

function isInstalled() {
  const installed = join(root, 'node_modules', '.modules.yaml')
  if (!existsSync(installed)) return false
  const installedAtMs = statSync(installed).mtimeMs
  const sources = [
    'pnpm-lock.yaml',
    'pnpm-workspace.yaml',
    'package.json',
    ...workspacePackages().map(({ folder }) => `${folder}/package.json`),
  ]
  return sources.every((source) => statSync(join(root, source)).mtimeMs <= installedAtMs)
}

/** The folder of the package manager that npx fetched: turbo calls it by its bare name, so it must be on the path. */
async function findPackageManager(packageManager) {
  const note = join(root, 'node_modules', '.cache', 'package-manager.json')
  if (existsSync(note)) {
    const known = readJson(note)
    if (known.packageManager === packageManager && existsSync(known.folder)) return known.folder
  }
  const script = 'process.stdout.write(process.env.PATH ?? process.env.Path)'
  const { code, output } = await run(
    'npx',
    ['--yes', `--package=${packageManager}`, '--', 'node', '-e', isWindows ? `"${script}"` : script],
    {
      env: toolEnvironment(),
    },
  )
  const name = packageManager.split('@')[0]
  const folder = output
    .split(/\r?\n/)
    .flatMap((line) => line.split(delimiter))
    .find((path) => path.includes('_npx') && existsSync(join(path, isWindows ? `${name}.cmd` : name)))
  if (code !== 0 || folder === undefined)
    throw new StepFailed(`${packageManager} could not be fetched with npx:\n${output}`)
  mkdirSync(dirname(note), { recursive: true })
  writeFileSync(note, JSON.stringify({ packageManager, folder }))
  return folder
}

/**
 * Installs what the lockfile names, unless it is installed already, and returns `env`: the environment in which the
 * workspace's tools find each other.
 */
export async function prepareWorkspace() {
  const { packageManager } = readJson(join(root, 'package.json'))
  if (!isInstalled()) {
    console.log('Setting up: the packages come from the npm registry, which takes about a minute the first time.')
    const passed = await step('set up', () =>
      run('npx', ['--yes', packageManager, 'install', '--frozen-lockfile'], { env: toolEnvironment() }),
    )
    if (!passed)
      throw new StepFailed(
        'The packages could not be installed: the reason stands above. If it is the network, see that this machine reaches the npm registry, or name a mirror in ~/.npmrc, and run the command again.',
      )
    const now = new Date()
    utimesSync(join(root, 'node_modules', '.modules.yaml'), now, now)
  }
  return { env: toolEnvironment(await findPackageManager(packageManager)) }
}
