// `npm run sim` and `npm run bench`: set up, and run a program of the workspace from its sources, in this terminal.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { prepareWorkspace, root } from './workspace.mjs'

export const program = (entry) => ({
  async main(args) {
    const { env } = await prepareWorkspace()
    const node = join(root, 'node_modules', '.bin', 'node')
    const child = spawn(node, ['--conditions=@syncline/source', join(root, entry), ...args], { env, stdio: 'inherit' })
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.removeAllListeners(signal)
      process.on(signal, () => child.kill(signal))
    }
    process.exitCode = await new Promise((resolve) => {
      child.once('error', (error) => {
        console.error(`${entry} could not be started: ${error.message}`)
        resolve(1)
      })
      child.once('exit', (code) => resolve(code ?? 1))
    })
  },
})
