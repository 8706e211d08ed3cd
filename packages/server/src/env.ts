import { randomUUID } from 'node:crypto'
import type { Cancel, Env, LogLevel } from '@syncline/core'

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

/** The real clock, chance and timers. `write` gets one line of narration at a time, stderr by default. */
export function nodeEnv(level: LogLevel = 'info', write: (line: string) => void = toStderr): Env {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after(delayMs, run) {
      const timer = setTimeout(run, delayMs)
      return () => clearTimeout(timer)
    },
    endOfTurn(run) {
      setImmediate(run)
    },
    random: () => Math.random(),
    uniqueId: () => randomUUID(),
    log(lineLevel, message, details) {
      if (RANK[lineLevel] < RANK[level]) return
      write(line(new Date().toISOString(), lineLevel, message, details))
    },
  }
}

/** The same environment, but what it calls back cannot end the process by throwing: `onError` is told instead. */
export function isolatedEnv(
  env: Env,
  onError: (error: unknown) => void,
  endOfTurn: Env['endOfTurn'] = (run) => env.endOfTurn(run),
): Env {
  const isolated = (run: () => void) => (): void => {
    try {
      run()
    } catch (error) {
      onError(error)
    }
  }
  return {
    now: () => env.now(),
    monotonic: () => env.monotonic(),
    after: (delayMs, run) => env.after(delayMs, isolated(run)),
    endOfTurn: (run) => endOfTurn(isolated(run)),
    random: () => env.random(),
    uniqueId: () => env.uniqueId(),
    log: (...line) => env.log(...line),
  }
}

/** The same environment, until it ends: then nothing is called back any more that waits for its time. */
export function endableEnv(env: Env): { readonly env: Env; readonly end: () => void } {
  const waiting = new Set<Cancel>()
  let hasEnded = false
  const after: Env['after'] = (delayMs, run) => {
    if (hasEnded) return () => {}
    const cancel = env.after(delayMs, () => {
      waiting.delete(cancel)
      run()
    })
    waiting.add(cancel)
    return () => {
      waiting.delete(cancel)
      cancel()
    }
  }
  const end = (): void => {
    hasEnded = true
    for (const cancel of waiting) cancel()
    waiting.clear()
  }
  return {
    env: {
      now: () => env.now(),
      monotonic: () => env.monotonic(),
      after,
      endOfTurn: (run) => env.endOfTurn(run),
      random: () => env.random(),
      uniqueId: () => env.uniqueId(),
      log: (...line) => env.log(...line),
    },
    end,
  }
}

/** What an error says of itself, with where it happened. */
export function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** Ends the process after a failure that leaves no other way. */
export function exitProcess(code: number): never {
  process.exit(code)
}

function line(time: string, level: LogLevel, message: string, details?: Readonly<Record<string, unknown>>): string {
  const pairs = Object.entries(details ?? {}).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? JSON.stringify(value) : String(value)}`,
  )
  return `${time} ${level.padEnd(5)} ${[message, ...pairs].join('  ')}\n`
}

function toStderr(text: string): void {
  process.stderr.write(text)
}

/** Waits for work, at most for a time. False where the time ran out. */
export async function within(env: Env, timeoutMs: number, work: Promise<void> | undefined): Promise<boolean> {
  if (work === undefined) return true
  return await new Promise<boolean>((resolve, reject) => {
    const cancel = env.after(timeoutMs, () => resolve(false))
    work.then(
      () => {
        cancel()
        resolve(true)
      },
      (error: unknown) => {
        cancel()
        reject(error instanceof Error ? error : new Error(String(error)))
      },
    )
  })
}
