import type { Cancel, Env } from '@syncline/core'
import { wireError, type WireError } from '@syncline/protocol'
import type { Fences } from '../../store/fences.ts'
import type { Limits } from '../../telemetry/limits.ts'

/** Who holds locks: one connection, which does not get back what it held before it was cut. */
export type LockOwner = object

/** What is asked for. */
export interface LockAsk {
  readonly userId: string
  readonly requestId: string
  readonly name: string
  /** Milliseconds of the lease; the default where absent. */
  readonly ttlMs: number | undefined
  /** Milliseconds to wait for others; no limit where absent. */
  readonly waitMs: number | undefined
  /** Only extends the lease with this token. */
  readonly token: number | undefined
}

/** What becomes of a request, said once. */
export type LockOutcome = { readonly token: number; readonly ttlMs: number } | WireError

/** What the service needs of the server. */
export interface LockHost {
  readonly env: Env
  readonly fences: Pick<Fences, 'grant' | 'free'>
  readonly limits: Limits
  /** Why no lock can be granted at present, if so. */
  readonly refusal: () => WireError | undefined
}

/** Bounds and times. */
export interface LockOptions {
  readonly leaseMs: number
  readonly leaseMsMax: number
  readonly maxPerConnection: number
  readonly maxWaitersPerLock: number
}

interface Waiter {
  readonly owner: LockOwner
  readonly userId: string
  readonly requestId: string
  readonly ttlMs: number
  readonly answer: (outcome: LockOutcome) => void
  cancelWait: Cancel | undefined
}

interface Lease {
  readonly owner: LockOwner
  readonly userId: string
  /** Of the latest request that made or extended it. */
  requestId: string
  readonly token: number
  endsAtMs: number
  cancelEnd: Cancel | undefined
}

interface Lock {
  readonly name: string
  lease: Lease | undefined
  /** In order of arrival. */
  readonly waiters: Set<Waiter>
}

/** How much there is, and what has been counted since the server started. */
export interface LockFigures extends Readonly<Record<string, number>> {
  readonly held: number
  readonly waiting: number
  readonly granted: number
  /** Leases that ran out. */
  readonly expired: number
  /** Requests that were not granted. */
  readonly refused: number
  /** Connections that hold a lock or wait for one. */
  readonly owners: number
}

/** A lock that an owner may no longer have. */
export interface Withdrawn {
  readonly requestId: string
  readonly name: string
}

/** Grants locks as leases, to one owner at a time, in order of arrival. A lock that nobody wants costs nothing. */
export class LockService {
  readonly #host: LockHost
  readonly #options: LockOptions
  readonly #locksByName = new Map<string, Lock>()
  /** The locks that each owner holds or waits for, with how many requests of its they have. */
  readonly #byOwner = new Map<LockOwner, Map<Lock, number>>()
  #held = 0
  #waiting = 0
  #granted = 0
  #expired = 0
  #refused = 0

  constructor(host: LockHost, options: LockOptions) {
    this.#host = host
    this.#options = options
  }

  /** Asks for a lock. The answer comes at once, or when the lock is free or the wait is over; never after `releaseAll`. */
  request(owner: LockOwner, ask: LockAsk, answer: (outcome: LockOutcome) => void): void {
    const { userId, requestId, name, waitMs, token } = ask
    const asked = ask.ttlMs ?? this.#options.leaseMs
    const ttlMs = Math.min(asked, this.#options.leaseMsMax)
    const waiter: Waiter = { owner, userId, requestId, ttlMs, answer, cancelWait: undefined }
    if (!(asked > 0)) {
      return this.#refuse(waiter, wireError('VALIDATION_ERROR', 'ttl must be above 0 milliseconds.', { path: 'ttl' }))
    }
    const lease = this.#leaseOf(name)
    if (lease?.owner === owner && (token ?? lease.token) === lease.token) {
      lease.requestId = requestId
      this.#extend(name, lease, ttlMs)
      return answer({ token: lease.token, ttlMs })
    }
    if (token !== undefined) return this.#refuse(waiter, lost(name))
    const bound = this.#bound(owner, name)
    if (bound !== undefined) return this.#refuse(waiter, bound)
    if (lease === undefined) {
      this.#grant(this.#make(name), waiter)
      return
    }
    const fault = this.#host.refusal()
    if (fault !== undefined) return this.#refuse(waiter, fault)
    if (waitMs === 0) return this.#refuse(waiter, timedOut(name, 0))
    const lock = this.#locksByName.get(name) as Lock
    if (waitMs !== undefined) {
      waiter.cancelWait = this.#host.env.after(Math.min(waitMs, MAX_TIMER_MS), () => {
        if (this.#drop(lock, waiter)) this.#refuse(waiter, timedOut(name, waitMs))
      })
    }
    lock.waiters.add(waiter)
    this.#waiting++
    this.#note(owner, lock, 1)
  }

  /** Gives a lock back that the owner holds with a token; or ends a request of its, whether it waits or was granted. */
  release(
    owner: LockOwner,
    name: string,
    token: number | undefined,
    requestId: string | undefined,
  ): WireError | undefined {
    const lease = this.#leaseOf(name)
    const lock = this.#locksByName.get(name)
    if (token !== undefined) {
      if (lock === undefined || lease?.owner !== owner || lease.token !== token) return lost(name)
      return this.#end(lock, lease)
    }
    for (const waiter of lock?.waiters ?? []) {
      if (waiter.owner !== owner || waiter.requestId !== requestId) continue
      this.#drop(lock as Lock, waiter)
      return undefined
    }
    if (lock !== undefined && lease?.owner === owner && lease.requestId === requestId) return this.#end(lock, lease)
    return wireError('NOT_FOUND', `No request of this connection for lock '${name}' has this id.`, { name })
  }

  /** The owner is gone: it holds nothing and waits for nothing. */
  releaseAll(owner: LockOwner): void {
    this.#give(owner, () => true)
  }

  /** Takes from an owner the locks that it may no longer have, and says which. Those it waits for are refused. */
  withdraw(
    owner: LockOwner,
    isAllowed: (name: string, userId: string) => boolean,
    error: (name: string) => WireError,
  ): Withdrawn[] {
    return this.#give(owner, (name, userId) => !isAllowed(name, userId), error)
  }

  inspect(): LockFigures {
    return {
      held: this.#held,
      waiting: this.#waiting,
      granted: this.#granted,
      expired: this.#expired,
      refused: this.#refused,
      owners: this.#byOwner.size,
    }
  }

  #give(
    owner: LockOwner,
    isTaken: (name: string, userId: string) => boolean,
    error?: (name: string) => WireError,
  ): Withdrawn[] {
    const known = this.#byOwner.get(owner)
    if (known === undefined) return []
    const locks = [...known.keys()]
    // First what it waits for: none of its own requests gets what another one gives back.
    for (const lock of locks) {
      for (const waiter of lock.waiters) {
        if (waiter.owner !== owner || !isTaken(lock.name, waiter.userId)) continue
        this.#drop(lock, waiter)
        if (error !== undefined) this.#refuse(waiter, error(lock.name))
      }
    }
    const withdrawn: Withdrawn[] = []
    for (const lock of locks) {
      const { lease } = lock
      if (lease?.owner !== owner || !isTaken(lock.name, lease.userId)) continue
      withdrawn.push({ requestId: lease.requestId, name: lock.name })
      this.#end(lock, lease)
    }
    return withdrawn
  }

  #refuse(waiter: Waiter, error: WireError): void {
    this.#refused++
    waiter.answer(error)
  }

  /** The lease that lasts still: a timer may be late. */
  #leaseOf(name: string): Lease | undefined {
    const lease = this.#locksByName.get(name)?.lease
    if (lease === undefined || this.#host.env.monotonic() < lease.endsAtMs) return lease
    this.#expire(name, lease)
    return this.#locksByName.get(name)?.lease
  }

  #bound(owner: LockOwner, name: string): WireError | undefined {
    const { maxPerConnection, maxWaitersPerLock } = this.#options
    let count = 0
    for (const requests of this.#byOwner.get(owner)?.values() ?? []) count += requests
    const { limits } = this.#host
    if (count >= maxPerConnection) return limits.refusal('locks.maxPerConnection', maxPerConnection)
    const waiting = this.#locksByName.get(name)?.waiters.size ?? 0
    return waiting >= maxWaitersPerLock ? limits.refusal('locks.maxWaitersPerLock', maxWaitersPerLock) : undefined
  }

  #make(name: string): Lock {
    let lock = this.#locksByName.get(name)
    if (lock === undefined) this.#locksByName.set(name, (lock = { name, lease: undefined, waiters: new Set() }))
    return lock
  }

  /** Gives a free lock to whoever asked. False where none can be granted at present, which it is told. */
  #grant(lock: Lock, waiter: Waiter): boolean {
    const { owner, userId, requestId, ttlMs } = waiter
    const fault = this.#host.refusal()
    const token = fault === undefined ? this.#host.fences.grant(lock.name) : undefined
    if (token === undefined) {
      this.#tidy(lock)
      this.#refuse(waiter, fault ?? wireError('STORAGE_UNAVAILABLE'))
      return false
    }
    const lease: Lease = { owner, userId, requestId, token, endsAtMs: 0, cancelEnd: undefined }
    lock.lease = lease
    this.#held++
    this.#granted++
    this.#note(owner, lock, 1)
    this.#extend(lock.name, lease, ttlMs)
    waiter.answer({ token, ttlMs })
    return true
  }

  #extend(name: string, lease: Lease, ttlMs: number): void {
    lease.cancelEnd?.()
    lease.endsAtMs = this.#host.env.monotonic() + ttlMs
    lease.cancelEnd = this.#host.env.after(ttlMs, () => this.#expire(name, lease))
  }

  #expire(name: string, lease: Lease): void {
    const lock = this.#locksByName.get(name)
    if (lock?.lease !== lease) return
    this.#expired++
    this.#end(lock, lease)
  }

  /** Ends a lease and passes the lock on. */
  #end(lock: Lock, lease: Lease): undefined {
    lease.cancelEnd?.()
    lock.lease = undefined
    this.#held--
    this.#host.fences.free(lock.name)
    this.#note(lease.owner, lock, -1)
    for (const waiter of lock.waiters) {
      this.#drop(lock, waiter)
      if (this.#grant(lock, waiter)) break
    }
    this.#tidy(lock)
  }

  #drop(lock: Lock, waiter: Waiter): boolean {
    if (!lock.waiters.delete(waiter)) return false
    waiter.cancelWait?.()
    this.#waiting--
    this.#note(waiter.owner, lock, -1)
    return true
  }

  #tidy(lock: Lock): void {
    if (lock.lease === undefined && lock.waiters.size === 0) this.#locksByName.delete(lock.name)
  }

  #note(owner: LockOwner, lock: Lock, change: 1 | -1): void {
    let counts = this.#byOwner.get(owner)
    if (counts === undefined) this.#byOwner.set(owner, (counts = new Map()))
    const count = (counts.get(lock) ?? 0) + change
    if (count > 0) counts.set(lock, count)
    else counts.delete(lock)
    if (counts.size === 0) this.#byOwner.delete(owner)
  }
}

/** The longest that a timer of any platform counts. */
const MAX_TIMER_MS = 2_147_483_647

function lost(name: string): WireError {
  return wireError('STALE_TOKEN', `This connection does not hold lock '${name}' with this token.`, { name })
}

function timedOut(name: string, waitMs: number): WireError {
  return wireError(
    'TIMEOUT',
    `Lock '${name}' was not free within ${Math.round(waitMs)} ms; ask again or wait longer.`,
    { name },
  )
}
