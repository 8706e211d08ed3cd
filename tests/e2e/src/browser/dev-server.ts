import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServerProcess } from '../server-process.ts'

/** `syncline dev` on a data folder of its own, which outlives the server. */
export class DevServer implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'syncline-dev-'))
  url = ''
  #process: ServerProcess | undefined

  /** Starts it: the first time on any free port, later on the same. */
  async start(): Promise<void> {
    const data = join(this.folder, 'data')
    const port = this.url === '' ? '0' : new URL(this.url).port
    this.#process = ServerProcess.command(['dev', '--data', data, '--port', port], this.folder)
    this.url = `http://127.0.0.1:${await this.#process.ready}/`
  }

  async kill(): Promise<void> {
    await this.#process?.kill()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
