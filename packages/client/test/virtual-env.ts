import type { Cancel, LogLevel } from '@syncline/core'
import type { ClientEnv } from '../src/env.ts'
import { preload } from '../src/preload.ts'
import type { ClientSocket } from '../src/transport/socket.ts'

// A virtual clock does not wait for modules.
await preload()

interface Timer {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** A world with one clock, one source of chance and one network, shared by the clients of a test. */
export class World {
  /** Milliseconds since 1970, as a right clock shows them. */
  nowMs = 1_700_000_000_000
  readonly locks = new Set<string>()
  readonly #lockWaiters = new Map<string, (() => void)[]>()
  /** Opens the other end of each socket. */
  connect: (socket: VirtualSocket) => void = () => {}
  #timers: Timer[] = []
  #order = 0
  #seed: number

  constructor(seed = 1) {
    this.#seed = seed
  }

  get pendingTimers(): number {
    return this.#timers.length
  }

  /** A number in [0, 1), the same for the same seed (mulberry32). */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  after(delayMs: number, run: () => void): Cancel {
    const timer = { at: this.nowMs + Math.max(0, Math.ceil(delayMs)), order: this.#order++, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  unlock(name: string): void {
    this.locks.delete(name)
    for (const run of this.#lockWaiters.get(name) ?? []) run()
    this.#lockWaiters.delete(name)
  }

  whenFree(name: string): Promise<void> {
    if (!this.locks.has(name)) return Promise.resolve()
    return new Promise((resolve) => {
      this.#lockWaiters.set(name, [...(this.#lockWaiters.get(name) ?? []), resolve])
    })
  }

  /** Lets promises and ends of turns run until nothing moves. */
  async settle(): Promise<void> {
    // All promises that can go on do so before the next round of the event loop.
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  /** Lets time pass, timer by timer. */
  async advance(ms: number): Promise<void> {
    const until = this.nowMs + ms
    await this.settle()
    for (;;) {
      const [next] = this.#timers.sort((a, b) => a.at - b.at || a.order - b.order)
      if (next === undefined || next.at > until) break
      this.#timers.shift()
      this.nowMs = Math.max(this.nowMs, next.at)
      next.run()
      await this.settle()
    }
    this.nowMs = until
    await this.settle()
  }
}

/** One tab: its clock may be wrong, it can be reloaded, killed or duplicated. */
export class Tab {
  readonly world: World
  /** How far this device's clock is ahead. */
  skewMs = 0
  /** sessionStorage. */
  memory = new Map<string, string>()
  readonly log: { level: LogLevel; message: string; details: unknown }[] = []
  readonly sockets: VirtualSocket[] = []
  readonly wakers = new Set<() => void>()
  /** False on a page without HTTPS. */
  hasLocks = true
  /** Timers of a tab in the background wait at least so long. */
  slowestTimerMs = 0
  readonly #leavers = new Set<() => void>()
  readonly name: string
  #life = { isAlive: true, locks: new Set<string>() }
  #ids = 0

  constructor(world: World, name: string) {
    this.world = world
    this.name = name
  }

  get socket(): VirtualSocket {
    const socket = this.sockets.at(-1)
    if (socket === undefined) throw new Error('No socket has been opened.')
    return socket
  }

  /** The tab dies without a word: nothing of what runs in it goes on, its locks are free. */
  kill(): void {
    this.#life.isAlive = false
    for (const lock of this.#life.locks) this.world.unlock(lock)
    this.#leavers.clear()
    for (const socket of this.sockets) socket.cut()
    this.#life = { isAlive: true, locks: new Set() }
  }

  /** The page is left, by a reload or by closing the tab: it hears of it, and dies. */
  leave(): void {
    for (const run of this.#leavers) run()
    this.kill()
  }

  /** What a client in this tab is given, until the tab is killed. */
  env(): ClientEnv {
    const { world } = this
    const life = this.#life
    const alive =
      (run: () => void): (() => void) =>
      () => {
        if (life.isAlive) run()
      }
    return {
      now: () => world.nowMs + this.skewMs,
      monotonic: () => world.nowMs,
      after: (delayMs, run) => world.after(Math.max(delayMs, this.slowestTimerMs), alive(run)),
      endOfTurn: (run) => queueMicrotask(alive(run)),
      random: () => world.random(),
      uniqueId: () => `${this.name}${++this.#ids}`,
      log: (level, message, details) => this.log.push({ level, message, details }),
      openSocket: (url) => {
        const socket = new VirtualSocket(url)
        this.sockets.push(socket)
        world.connect(socket)
        return socket
      },
      locks: this.hasLocks
        ? {
            tryAcquire: async (name) => {
              if (!life.isAlive) return new Promise(() => {})
              if (world.locks.has(name)) return undefined
              world.locks.add(name)
              life.locks.add(name)
              return () => {
                world.unlock(name)
                life.locks.delete(name)
              }
            },
            whenFree: async (name, signal) => {
              await world.whenFree(name)
              if (!life.isAlive) return new Promise(() => {})
              signal.throwIfAborted()
            },
          }
        : undefined,
      tab: {
        get: (name) => this.memory.get(name),
        set: (name, value) => {
          if (value === undefined) this.memory.delete(name)
          else this.memory.set(name, value)
        },
      },
      onWake: (run) => {
        this.wakers.add(run)
        return () => this.wakers.delete(run)
      },
      onLeave: (run) => {
        this.#leavers.add(run)
        return () => this.#leavers.delete(run)
      },
      ownUrl: undefined,
    }
  }
}

/** A socket of which a test holds the server's end. */
export class VirtualSocket implements ClientSocket {
  readonly url: string
  /** Frames that the client sent, decoded. */
  readonly sent: Record<string, unknown>[] = []
  isOpen = true
  closedBy: { code: number | undefined } | undefined
  /** Hears what the client sends; without it `sent` keeps it. */
  onSent: ((text: string) => void) | undefined
  onGone: () => void = () => {}
  onText: (text: string) => void = () => {}
  onClose: (code: number, reason: string) => void = () => {}

  constructor(url: string) {
    this.url = url
  }

  send(text: string): void {
    if (!this.isOpen) return
    if (this.onSent === undefined) this.sent.push(JSON.parse(text) as Record<string, unknown>)
    else this.onSent(text)
  }

  close(code?: number): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.closedBy = { code }
    this.onGone()
  }

  /** The server closes, or the network fails. */
  drop(code = 1006, reason = ''): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.onGone()
    this.onClose(code, reason)
  }

  /** The other side is gone without a word. */
  cut(): void {
    this.isOpen = false
    this.onGone()
  }

  /** The server says something. */
  say(message: unknown): void {
    if (this.isOpen) this.onText(JSON.stringify(message))
  }

  /** Takes the frames that the client sent so far. */
  take(): Record<string, unknown>[] {
    return this.sent.splice(0)
  }
}
