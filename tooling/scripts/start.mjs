// `npm start`: set up, build, and run the development server until it or whoever asked for it ends.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { StepFailed, prepareWorkspace, root, run, step, workspacePackages } from './workspace.mjs'

const serverPackage = '@syncline/server-cli'
const serverEntry = join(root, 'apps', 'server', 'dist', 'cli.js')
const parentPollMs = 500

export async function main(args) {
  const { env } = await prepareWorkspace()
  const filters = workspacePackages()
    .filter(({ folder, manifest }) => manifest.name === serverPackage || folder.startsWith('examples/'))
    .map(({ manifest }) => `--filter=${manifest.name}...`)
  const passed = await step('build', () =>
    run('turbo', ['run', 'build', ...filters, '--output-logs=errors-only'], { env }),
  )
  if (!passed) throw new StepFailed('The build failed: see above.')
  if (!existsSync(serverEntry))
    throw new StepFailed(`${serverPackage} has no ${serverEntry} after its build: there is nothing to start.`)
  serve(env, args)
}

/**
 * The server gets a process group of its own, so that a Ctrl-C in the terminal reaches it once, through here. npm signals
 * only its shell: when the parent is gone, this process has been left behind and stops the server itself. The channel
 * tells the server when even this process is killed.
 */
function serve(env, args) {
  const isLeftBehind = watchAncestors()
  const server = spawn(join(root, 'node_modules', '.bin', 'node'), [serverEntry, 'dev', ...args], {
    cwd: root,
    env,
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.removeAllListeners(signal)
    process.on(signal, () => server.kill(signal))
  }
  const watch = setInterval(() => {
    if (!isLeftBehind()) return
    clearInterval(watch)
    server.kill('SIGTERM')
  }, parentPollMs)
  server.once('error', (error) => {
    clearInterval(watch)
    console.error(`The server could not be started: ${error.message}`)
    process.exitCode = 1
  })
  server.once('exit', (code, signal) => {
    clearInterval(watch)
    if (server.connected) server.disconnect()
    process.exitCode = signal === null ? (code ?? 1) : 128 + ({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[signal] ?? 9)
  })
}

/** Says whether the process that started this one is gone, or, under npm, npm itself: it stands behind its shell. */
function watchAncestors() {
  const shell = process.ppid
  const npm = process.env.npm_lifecycle_event === undefined ? undefined : parentOf(shell)
  return () => process.ppid !== shell || (npm !== undefined && !isAlive(npm))
}

function parentOf(pid) {
  try {
    if (process.platform === 'linux')
      return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    if (process.platform !== 'win32')
      return Number(execFileSync('ps', ['-o', 'ppid=', '-p', String(pid)], { encoding: 'utf8' }))
  } catch {
    // Without a way to ask, the shell alone is watched.
  }
  return undefined
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}
