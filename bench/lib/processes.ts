// The other processes of a run: servers on one core, load generators on another, each answering calls of the runner.
import { spawn, spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

/** The core on which a process runs. On a machine with one core, or without taskset, it says nothing. */
export type Core = 'server' | 'load'

const CORES: Readonly<Record<Core, number>> = { server: 0, load: 1 }
/** Keeps a process to a core; part of util-linux, and not on every system. */
const PIN = 'taskset'
const CALL_TIMEOUT_MS = 120_000
const EXIT_TIMEOUT_MS = 20_000

/** Says whether processes can be kept to their cores here. */
export const canPin: boolean =
  availableParallelism() > 1 && spawnSync(PIN, ['-c', '0', 'true'], { stdio: 'ignore' }).status === 0

/** A command that runs on its core, where that can be had. */
export function pinned(command: readonly string[], core: Core): [file: string, ...rest: string[]] {
  const whole = canPin ? [PIN, '-c', String(CORES[core]), ...command] : command
  return whole as [string, ...string[]]
}

/** CPU time of a process between two moments, and its memory at the second. */
export interface Usage {
  readonly elapsedMs: number
  readonly cpuMs: number
  readonly rssBytes: number
  /** What lives on V8's heap, and the memory that its young generation has grown to, used or not. */
  readonly heapBytes: number
  readonly youngBytes: number
}

/** A process that answers calls. */
export interface Remote {
  readonly pid: number
  call<T>(name: string, args?: unknown): Promise<T>
  /** Begins a window for `usage`. */
  mark(): Promise<void>
  /** What the process used since `mark`. */
  usage(): Promise<Usage>
  /** Ends the process: asks it to, and kills it by its id where it does not in time. */
  stop(): Promise<void>
}

/** Starts a script as a process of its own. It must call `answer` of `remote.ts`. */
export async function startProcess(
  script: URL,
  args: unknown,
  options: { readonly core: Core; readonly nodeArguments?: readonly string[] },
): Promise<Remote> {
  const command = [
    process.execPath,
    ...process.execArgv.filter((argument) => !argument.startsWith('--cpu-prof')),
    ...(options.nodeArguments ?? []),
    script.pathname,
    JSON.stringify(args ?? {}),
  ]
  const [file, ...rest] = pinned(command, options.core)
  const child = spawn(file, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' })
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  let failure: Error | undefined
  let calls = 0
  const exited = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      failure = new Error(`${script.pathname.split('/').slice(-2).join('/')} ended (${signal ?? code})`)
      for (const { reject } of waiting.values()) reject(failure)
      waiting.clear()
      resolve()
    })
  })
  child.on('error', () => {})
  child.on('message', ({ id, value, error }: { id: number; value?: unknown; error?: string }) => {
    const call = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) call?.resolve(value)
    else call?.reject(new Error(error))
  })
  const call = <T>(name: string, callArgs?: unknown): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      if (failure !== undefined) return reject(failure)
      const id = ++calls
      const timer = setTimeout(() => {
        waiting.delete(id)
        reject(new Error(`No answer to '${name}' within ${CALL_TIMEOUT_MS} ms`))
      }, CALL_TIMEOUT_MS)
      waiting.set(id, {
        resolve: (value) => (clearTimeout(timer), resolve(value as T)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      })
      child.send({ id, name, args: callArgs })
    })
  const remote: Remote = {
    pid: child.pid as number,
    call,
    mark: () => call('mark'),
    usage: () => call('usage'),
    async stop() {
      running.delete(remote)
      if (failure !== undefined) return
      const timer = setTimeout(() => child.kill('SIGKILL'), EXIT_TIMEOUT_MS)
      await call('stop').catch(() => {})
      await exited
      clearTimeout(timer)
    },
  }
  running.add(remote)
  await call('ready')
  return remote
}

const running = new Set<Remote>()

/** Ends every process that still runs. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((remote) => remote.stop()))
}
