import { LOCK_NAME_BYTES, lockShapes } from '@syncline/protocol/codec'
import { SynclineError, anotherUser, checkAtLeast, clientClosed } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import { checkName, checkTtl } from '../../offline/op-writer.ts'
import { waitFor } from '../../readable.ts'
import { Asking } from './asking.ts'
import type { Lock, LockOptions } from './handle.ts'
import type { HeldLock } from './held-lock.ts'
import { Turns } from './turns.ts'
import { LockWire, errorOf, offline } from './wire.ts'

/** Locks of this client. */
export function start(kernel: Kernel): LateFeature<LockOptions, Promise<Lock>> {
  const { env, turn } = kernel
  const wire = new LockWire(kernel)
  const held = new Set<HeldLock>()
  const host = { kernel, wire, turns: new Turns(), held }
  const askings = new Set<Asking>()

  const failAll = (error: SynclineError): void => {
    for (const asking of askings) asking.fail(error)
  }
  const loseAll = (error: SynclineError): void => {
    for (const lock of held) lock.lose(error)
  }

  // Timers stand still while the device sleeps.
  const stopWake = env.onWake(() => {
    for (const lock of held) lock.watch()
  })
  turn.onClose(() => {
    stopWake()
    const closed = clientClosed()
    failAll(closed)
    loseAll(closed)
  })

  return {
    shapes: lockShapes,
    handlers: {
      LOCK_GRANTED: ({ payload }) => void wire.answered(payload.requestId, payload),
      LOCK_RELEASED: ({ payload }) => {
        const error = errorOf(payload)
        if (wire.answered(payload.requestId, error) || error === undefined) return
        // Nobody asked: the right to the lock has ended.
        for (const lock of held) if (lock.requestId === payload.requestId) lock.lose(error)
      },
    },
    online() {
      for (const asking of askings) asking.request()
    },
    offline() {
      loseAll(offline())
      wire.offline()
    },
    userChanged: () => failAll(anotherUser()),
    async open(name, given) {
      const options = { ...given }
      checkAsking(name, options)
      if (turn.isClosed) throw clientClosed()
      if (!kernel.hasServer) throw new SynclineError('OFFLINE', 'A client without a server has no locks.')
      const { waitMs, signal } = options
      const timedOut = (): SynclineError =>
        new SynclineError('TIMEOUT', `Lock '${name}' was not free within ${waitMs} ms.`)
      // Who does not wait has the answer of the server, whenever that comes.
      const wait = { ...(signal && { signal }), ...(waitMs ? { timeoutMs: waitMs } : {}) }
      return await waitFor<Lock>(env, wait, timedOut, (resolve, reject) => {
        const asking = new Asking(host, name, options, resolve, reject)
        askings.add(asking)
        asking.start()
        return () => {
          askings.delete(asking)
          asking.end()
        }
      })
    },
  }
}

function checkAsking(name: string, { ttlMs, waitMs }: LockOptions): void {
  checkName(name, LOCK_NAME_BYTES, 'The name of a lock')
  checkTtl(ttlMs)
  if (waitMs !== undefined) checkAtLeast(0, 'waitMs', waitMs)
}
