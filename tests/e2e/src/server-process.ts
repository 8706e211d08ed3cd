import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

const START_LIMIT_MS = 20_000
const STOP_LIMIT_MS = 35_000
const KEPT_OUTPUT = 20_000

/** The built command, as npm would install it. */
export const CLI = join(dirname(require.resolve('@syncline/server-cli/package.json')), 'dist', 'cli.js')

const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

/** How a process ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * A server in a process of its own. It dies with this one: by the channel between them if nobody can kill it any more.
 */
export class ServerProcess implements AsyncDisposable {
  readonly startedAtMs: number = performance.now()
  /** Resolves with the port when the server listens; rejects with what it said if it ends before. */
  readonly ready: Promise<number>
  readonly ended: Promise<Ended>
  #output = ''
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
    living.add(child)
    this.ended = once(child, 'close').then(() => {
      living.delete(child)
      return { code: child.exitCode, signal: child.signalCode }
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-KEPT_OUTPUT)
      })
    }
    this.ready = this.#listening()
    this.ready.catch(() => {})
  }

  /** Runs `syncline` with these arguments. Nothing of the environment that a server would read is passed on. */
  static command(args: readonly string[], cwd: string, flags?: readonly string[]): ServerProcess {
    return ServerProcess.script(CLI, args, cwd, flags)
  }

  /** Runs a script of ours that prints `PORT=<n>` as `syncline` does. */
  static script(path: string, args: readonly string[], cwd: string, flags: readonly string[] = []): ServerProcess {
    const child = spawn(process.execPath, [...flags, path, ...args], {
      cwd,
      env: plainEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    return new ServerProcess(child)
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** What it has said so far, stdout and stderr. */
  get output(): string {
    return this.#output
  }

  /** Ends it as a crash does, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }

  /** Asks it to stop, without waiting. */
  signal(name: 'SIGTERM' | 'SIGINT'): void {
    this.#child.kill(name)
  }

  /** Asks it to stop and waits for its exit code; throws where it does not end. */
  async stop(): Promise<number | null> {
    this.signal('SIGTERM')
    const { code } = await within(this.ended, STOP_LIMIT_MS, () => `The server did not stop:\n${this.output}`)
    return code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }

  #listening(): Promise<number> {
    const port = new Promise<number>((resolve, reject) => {
      const look = (): void => {
        const [, found] = /^PORT=(\d+)$/m.exec(this.#output) ?? []
        if (found !== undefined) resolve(Number(found))
      }
      this.#child.stdout?.on('data', look)
      this.ended.then(({ code, signal }) => {
        look()
        reject(new Error(`The server ended before it listened (${signal ?? code}):\n${this.output}`))
      }, reject)
    })
    return within(port, START_LIMIT_MS, () => `The server did not start:\n${this.output}`)
  }
}

/** Waits for a promise, with a bound. */
export async function within<T>(promise: Promise<T>, limitMs: number, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what()} (after ${limitMs} ms)`)), limitMs)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}

function plainEnvironment(): NodeJS.ProcessEnv {
  const ours = /^(?:SYNCLINE_|VITEST|NODE_OPTIONS$|NODE_V8_COVERAGE$|RUST_LOG$|PORT$|HOST$)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)))
}
