import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ServerProcess } from './server-process.ts'

/** What servers of one test sign and check tokens with. */
export const SECRET = 'a secret of this test alone, long enough to be taken'

/** A temporary folder in which `syncline start` runs, again and again, on one SQLite file. */
export interface Home {
  readonly folder: string
  /** The database file. */
  readonly path: string
  /** Signs in a user who may do everything. */
  readonly token: string
  start(port?: number, flags?: readonly string[]): ServerProcess
}

const folders: string[] = []

/** Makes a folder with a secret, and a token that `syncline token` signs with it. */
export async function newHome(): Promise<Home> {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-e2e-'))
  folders.push(folder)
  const path = join(folder, 'syncline.db')
  const secret = join(folder, 'secret')
  writeFileSync(secret, SECRET)
  const signing = ['token', '--user', 'writer', '--role', 'ADMIN', '--secret-file', secret]
  const signer = ServerProcess.command(signing, folder)
  await signer.ended
  const [token] = /^[\w-]+\.[\w-]+\.[\w-]+$/m.exec(signer.output) ?? []
  if (token === undefined) throw new Error(`syncline token gave none:\n${signer.output}`)
  return {
    folder,
    path,
    token,
    start(port = 0, flags = []) {
      const address = ['--host', '127.0.0.1', '--port', String(port)]
      return ServerProcess.command(
        ['start', ...address, '--secret-file', secret, '--storage', `sqlite:${path}`],
        folder,
        flags,
      )
    },
  }
}

/** Deletes the folders of all homes. Not called where a test failed: they show why. */
export function clearHomes(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
}
