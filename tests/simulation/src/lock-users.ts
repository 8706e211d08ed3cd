import type { Lock } from '@syncline/client'
import type { Step } from './steps.ts'
import type { Tab } from './tab.ts'
import type { Process } from './virtual-env.ts'
import type { World } from './world.ts'

type LockStep = Extract<Step, { kind: 'lock' }>

/** What applications do with locks: ask, write under them, renew, release them, and go on where they are lost. */
export class LockUsers {
  readonly #world: World
  /** Runs of tabs that ask for a lock or have not done yet with one. */
  readonly #busy = new Set<{ readonly process: Process }>()

  constructor(world: World) {
    this.#world = world
  }

  /** Somebody who lives waits for a lock or works under it. */
  get isBusy(): boolean {
    for (const { process } of this.#busy) if (process.isAlive) return true
    return false
  }

  ask(tab: Tab, step: LockStep): void {
    const { process, client } = tab
    const { scheduler, oracle } = this.#world
    const { name, ttlMs, waitMs } = step
    const use = { process }
    this.#busy.add(use)
    scheduler.note(process.name, `asks for ${name}`)
    client.lock(name, { ttlMs, waitMs }).then(
      (lock) => {
        if (!process.isAlive) return
        scheduler.note(process.name, `has ${name} with ${lock.fencingToken}`)
        oracle.locks.believed(lock, () => process.isAlive)
        this.#hold(tab, process, lock, step, () => this.#busy.delete(use))
      },
      (error: unknown) => {
        this.#busy.delete(use)
        if (process.isAlive) scheduler.note(process.name, `does not get ${name}: ${(error as Error).message}`)
      },
    )
  }

  #hold(tab: Tab, process: Process, lock: Lock, step: LockStep, done: () => void): void {
    const { scheduler } = this.#world
    const { holdMs, renewAfterMs, writes, isCareless, isReleased, level } = step
    const later = (delayMs: number, run: () => void): void =>
      void scheduler.after(delayMs, () => {
        if (process.isAlive && !tab.isClosed) run()
      })
    if (renewAfterMs !== undefined) later(renewAfterMs, () => void lock.renew().catch(() => {}))
    for (let i = 0; i < writes; i++) {
      later((holdMs * i) / writes, () => {
        // Whoever was asleep does not know that the lock is lost: the token tells.
        if (lock.signal.aborted && !isCareless) return
        const options = { concern: level, fence: lock }
        tab.write('notes', lock.name, { concern: level }, (map, tag) => map.set(lock.name, { a: tag }, options))
      })
    }
    later(holdMs, () => {
      if (!isReleased) return done()
      scheduler.note(process.name, `releases ${lock.name}`)
      lock
        .release()
        .catch(() => {})
        .finally(done)
    })
  }
}
