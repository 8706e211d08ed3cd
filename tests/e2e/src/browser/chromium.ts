import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const INSTALLER = 'apt-get'
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** The browser on the path; undefined where there is none. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable)
}

/** Before the tests: there is a browser, or one is installed, or one sentence says how. */
export default function setup(): void {
  if (findChromium() !== undefined) return
  const isDebian = existsSync('/etc/debian_version') && process.getuid?.() === 0
  if (!isDebian) throw new Error(`These tests need Chromium on the path: ${adviceFor(process.platform)}`)
  console.log('Chromium is not installed: installing it with apt-get, which takes about a minute.')
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const args of [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'fonts-dejavu-core'],
  ]) {
    const { status, stderr, stdout, error } = spawnSync(INSTALLER, args, { env, encoding: 'utf8' })
    if (status === 0) continue
    const why = error?.message ?? `${stdout}${stderr}`.trim().split('\n').slice(-3).join(' ')
    throw new Error(`Chromium could not be installed (apt-get ${args[0]}: ${why}): ${adviceFor('linux')}`)
  }
  if (findChromium() === undefined) throw new Error('Chromium was installed and is not on the path.')
}

function adviceFor(platform: string): string {
  if (platform === 'darwin') return 'run "brew install --cask chromium".'
  if (platform === 'win32') return 'install Chrome and add its folder to PATH.'
  return 'run "sudo apt-get install -y chromium", or the same with the package manager of your system.'
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
