import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Failure, Skipped, shown } from '../failure.ts'

/** What the kit tells a client to do; README.md says what each command means. */
export interface Command {
  readonly do: 'connect' | 'write' | 'patch' | 'remove' | 'follow' | 'read' | 'pending' | 'rejected' | 'exit'
  readonly [member: string]: unknown
}

/** What a client answers. */
export interface Answer {
  readonly id: number
  readonly ok: boolean
  readonly error?: string
  readonly [member: string]: unknown
}

/** The program of a client under test, driven by lines of JSON. */
export class Driver {
  readonly #process: ChildProcess
  readonly #timeoutMs: number
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #ready: ((facts: { readonly skips: readonly string[] }) => void) | undefined
  #exited: string | undefined
  #ids = 0
  #errors = ''

  private constructor(child: ChildProcess, timeoutMs: number) {
    this.#process = child
    this.#timeoutMs = timeoutMs
    if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', (line) => this.#onLine(line))
    child.stderr?.on('data', (text: Buffer) => {
      this.#errors = `${this.#errors}${text.toString()}`.slice(-2_000)
    })
    child.on('exit', (code, signal) => {
      this.#exited = `the program ended with ${code ?? signal}: ${this.#errors.trim().split('\n').at(-1) ?? ''}`
      for (const answer of this.#waiting.values()) answer({ id: 0, ok: false, error: this.#exited })
    })
    child.on('error', (error) => {
      this.#exited = `the program could not be started: ${error.message}`
      for (const answer of this.#waiting.values()) answer({ id: 0, ok: false, error: this.#exited })
    })
    child.stdin?.on('error', () => undefined)
  }

  /** Starts the program with the address as its last argument, and waits until it is ready. */
  static async start(command: readonly string[], url: string, rule: string, timeoutMs: number): Promise<Driver> {
    const [program = '', ...args] = command
    const driver = new Driver(spawn(program, [...args, url], { stdio: ['pipe', 'pipe', 'pipe'] }), timeoutMs)
    const { skips } = await driver.#within(
      new Promise<{ readonly skips: readonly string[] }>((resolve) => {
        driver.#ready = resolve
      }),
      'a line {"ready": true}',
    )
    if (skips.some((skipped) => rule === skipped || rule.replace(/\d+$/, '') === skipped)) {
      driver.end()
      throw new Skipped('the client says that it does not do this')
    }
    return driver
  }

  /** Tells the client to do something, and waits until it says that it has. */
  async tell(command: Command): Promise<Answer> {
    const id = ++this.#ids
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve))
    if (this.#exited !== undefined) throw new Failure(`an answer to ${shown(command)}`, this.#exited)
    this.#process.stdin?.write(`${JSON.stringify({ id, ...command })}\n`)
    const answer = await this.#within(answered, `an answer to ${shown(command)}`)
    if (answer.error === 'unsupported') throw new Skipped(`the client has no command "${command.do}"`)
    if (!answer.ok) throw new Failure(`an answer to ${shown(command)}`, answer.error ?? shown(answer))
    return answer
  }

  /** Ends the program. */
  end(): void {
    this.#process.kill('SIGKILL')
  }

  #onLine(line: string): void {
    let said: unknown
    try {
      said = JSON.parse(line)
    } catch {
      return
    }
    if (typeof said !== 'object' || said === null) return
    if ('ready' in said) {
      const { skips } = said as { readonly skips?: readonly string[] }
      this.#ready?.({ skips: skips ?? [] })
    } else if ('id' in said) {
      const answer = said as Answer
      this.#waiting.get(answer.id)?.(answer)
      this.#waiting.delete(answer.id)
    }
  }

  async #within<T>(promise: Promise<T>, expected: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Failure(expected, this.#exited ?? `nothing for ${this.#timeoutMs} ms ${this.#errors}`.trim()))
      }, this.#timeoutMs)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }
}
