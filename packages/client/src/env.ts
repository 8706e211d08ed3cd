import type { Cancel, Env } from '@syncline/core'
import type { ClientSocket } from './transport/socket.ts'

/** Names that at most one tab or client of this machine holds at a time. What a dead one held is free. */
export interface LockPort {
  /** Takes a free lock and gives the function that releases it; `undefined` where another holds it. */
  tryAcquire(name: string): Promise<(() => void) | undefined>
  /** Resolves when nobody holds it; rejects when the signal is aborted. */
  whenFree(name: string, signal: AbortSignal): Promise<void>
}

/** Text that a tab keeps while it is reloaded. */
export interface TabMemory {
  get(name: string): string | undefined
  set(name: string, value: string | undefined): void
}

/** Everything that the client has from the outside: time, chance, sockets, locks. */
export interface ClientEnv extends Env {
  openSocket(url: string, protocols: readonly string[]): ClientSocket
  /** None on pages without HTTPS and in Node before 24: tabs then tell each other through their storage that they live. */
  readonly locks: LockPort | undefined
  readonly tab: TabMemory
  /** Calls `run` when the network is back or the page is shown again. */
  onWake(run: () => void): Cancel
  /** Calls `run` when the page is left for good, a reload included. What has no pages has none. */
  onLeave?(run: () => void): Cancel
  /** The address of the page's own server, where there is a page. */
  readonly ownUrl: string | undefined
}

/** The longest delay that timers of the platform can hold. */
const MAX_TIMER_MS = 2 ** 31 - 1

function after(delayMs: number, run: () => void): Cancel {
  const timer = setTimeout(run, Math.min(delayMs, MAX_TIMER_MS))
  return () => clearTimeout(timer)
}

/** The environment of browsers and of Node from version 22. */
export function defaultEnv(): ClientEnv {
  const { location, navigator } = globalThis as { location?: Location; navigator?: Navigator }
  const locks = navigator?.locks
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after,
    endOfTurn: (run) => queueMicrotask(run),
    random: () => Math.random(),
    uniqueId,
    log: (level, message, details) =>
      console[level](`syncline: ${message}`, ...(details === undefined ? [] : [details])),
    openSocket,
    locks: locks && webLocks(locks),
    tab: {
      get: (name) => inTabStorage((storage) => storage.getItem(name)) ?? undefined,
      set: (name, value) =>
        inTabStorage((storage) => (value === undefined ? storage.removeItem(name) : storage.setItem(name, value))),
    },
    onWake,
    onLeave,
    ownUrl: location?.host ? `${location.protocol.replace('http', 'ws')}//${location.host}/ws` : undefined,
  }
}

function uniqueId(): string {
  // `randomUUID` exists in secure contexts only.
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('')
}

function openSocket(url: string, protocols: readonly string[]): ClientSocket {
  const webSocket = new WebSocket(url, [...protocols])
  const socket: ClientSocket = {
    onText() {},
    onClose() {},
    send: (text) => webSocket.send(text),
    close: (code, reason) => webSocket.close(code, reason),
  }
  webSocket.addEventListener('message', ({ data }) => typeof data === 'string' && socket.onText(data))
  webSocket.addEventListener('close', ({ code, reason }) => socket.onClose(code, reason))
  return socket
}

/** Where there is none, a frame without an origin may not even ask for it, or it is full, a reload makes another tab. */
function inTabStorage<T>(use: (storage: Storage) => T): T | undefined {
  try {
    return use(globalThis.sessionStorage)
  } catch {
    return undefined
  }
}

function onWake(run: () => void): Cancel {
  // Node has none of these, a worker no document.
  const target = globalThis as Partial<EventTarget>
  const { document } = globalThis as { document?: Document }
  const onShown = (): void => {
    if (document?.visibilityState === 'visible') run()
  }
  target.addEventListener?.('online', run)
  document?.addEventListener('visibilitychange', onShown)
  return () => {
    target.removeEventListener?.('online', run)
    document?.removeEventListener('visibilitychange', onShown)
  }
}

function onLeave(run: () => void): Cancel {
  const target = globalThis as Partial<EventTarget>
  // A page that is kept for the Back button goes on when it is shown again.
  const onHide = (event: Event): void => {
    if (!(event as PageTransitionEvent).persisted) run()
  }
  target.addEventListener?.('pagehide', onHide)
  return () => target.removeEventListener?.('pagehide', onHide)
}

function webLocks(locks: LockManager): LockPort {
  return {
    tryAcquire: (name) =>
      new Promise((resolve, reject) => {
        locks
          .request(name, { ifAvailable: true }, (lock) => {
            if (lock === null) return resolve(undefined)
            return new Promise<void>((release) => resolve(release))
          })
          .catch(reject)
      }),
    whenFree: (name, signal) => locks.request(name, { mode: 'shared', signal }, () => {}),
  }
}
