import type { Lock } from '@syncline/client'
import type { ClientOp, Fence, LockGranted, LockRelease, LockRequest } from '@syncline/protocol'
import type { Connection } from './connection.ts'
import { covers } from './ledger.ts'
import type { Watch } from './watch.ts'

/** What the server says of a lock leaves it within so many milliseconds, where the socket is empty. */
const SAID_MS = 60
/** How late timers are at most, and a little more. */
const TIMER_MS = 12
/** How late a lock that is free may come to who waits for it. */
const LATE_MS = 1_000

interface Request {
  readonly connection: Connection
  readonly name: string
  readonly arrivedAtMs: number
}

/** A lock as it was granted last. */
interface Grant {
  readonly connection: Connection
  readonly token: number
  /** The run of the server that granted it. */
  readonly run: number
  readonly saidAtMs: number
  requestId: string
  /** The lease lasts at least until then, and at most until then. */
  leastUntilMs: number
  mostUntilMs: number
  /** It was given back. */
  releasedAtMs: number | undefined
}

interface Told {
  readonly token: number
  readonly connection: Connection
  readonly atMs: number
}

/** A write that was refused for its fence, though the lock was not known to be granted to another. */
interface Refusal {
  readonly id: string
  readonly token: number
  readonly run: number
  readonly answeredAtMs: number
}

/** A fenced write that has arrived at the server. */
interface Arrival {
  readonly fence: Fence
  /** Why it must not be taken. */
  readonly isStale: boolean
}

/**
 * INV-19: tokens rise, a lease is over before the next one begins, no write passes under a token that is not the latest,
 * none is refused under the latest, and a lock that is free comes to who waits for it. Tokens order all grants of a lock,
 * so that a history of grants and writes is linearizable exactly where each write can be placed between its arrival and
 * its answer while its token was the latest, or was not: that is what is looked at here.
 */
export class LockOracle {
  readonly #watch: Watch
  readonly #runOf: () => number
  readonly #requests = new Map<string, Request>()
  /** When requests were given up, granted or not. */
  readonly #cancelledAtMs = new Map<string, number>()
  readonly #granted = new Map<string, Grant>()
  readonly #greatest = new Map<string, number>()
  /** All tokens of each lock, whom they were told, and when that was first. */
  readonly #said = new Map<string, readonly Told[]>()
  readonly #refusals = new Map<string, Refusal[]>()
  readonly #arrivals = new Map<string, Arrival>()
  /** Locks that applications believe to hold, by token. */
  readonly #held = new Map<number, { readonly lock: Lock; readonly isAlive: () => boolean }>()

  constructor(watch: Watch, runOf: () => number) {
    this.#watch = watch
    this.#runOf = runOf
  }

  requestArrives(connection: Connection, { requestId, name }: LockRequest['payload']): void {
    this.#watch.count('lock requests')
    this.#requests.set(requestId, { connection, name, arrivedAtMs: this.#watch.virtualNow() })
  }

  releaseArrives(connection: Connection, { requestId, name, fencingToken }: LockRelease['payload']): void {
    const grant = this.#granted.get(name)
    const isMeant = fencingToken === undefined ? grant?.requestId === requestId : grant?.token === fencingToken
    // Also where the answer of the request is still on its way.
    if (grant !== undefined && grant.connection === connection && isMeant)
      grant.releasedAtMs ??= this.#watch.virtualNow()
    if (fencingToken === undefined && requestId !== undefined)
      this.#cancelledAtMs.set(requestId, this.#watch.virtualNow())
  }

  /** A write under a lock has come to the server. */
  writeArrives(connection: Connection, id: string, op: ClientOp): void {
    const { fence } = op
    if (fence === undefined) return
    const grant = this.#granted.get(fence.name)
    const isOver = (this.#greatest.get(fence.name) ?? 0) > fence.token || grant?.run !== this.#runOf()
    // What is there already came again.
    const isThere = covers(this.#watch.serverMap(op.mapName)?.entriesByKey.get(op.key)?.record, op)
    this.#arrivals.set(`${connection.id} ${id}`, { fence, isStale: isOver && !isThere })
  }

  granted(connection: Connection, { requestId, name, fencingToken: token, ttl }: LockGranted['payload']): void {
    const now = this.#watch.virtualNow()
    const request = this.#requests.get(requestId)
    const arrivedAtMs = request?.arrivedAtMs ?? 0
    const before = this.#granted.get(name)
    const isQuiet = connection.silentMs > SAID_MS
    // The socket may have been full, and the grant have waited.
    const leastFromMs = isQuiet ? Math.max(arrivedAtMs, now - SAID_MS) : arrivedAtMs
    this.#requests.delete(requestId)
    const lease = { requestId, leastUntilMs: leastFromMs + ttl, mostUntilMs: now + ttl }
    const grants = this.#said.get(name) ?? []
    for (const said of grants)
      if (said.token > token && said.atMs < arrivedAtMs)
        this.#watch.fail('INV-19', `Token ${token} of '${name}' was granted after ${said.token}`)
    const first = grants.find((said) => said.token === token)
    if (first !== undefined) {
      this.#watch.count('locks renewed')
      if (first.connection !== connection)
        this.#watch.fail('INV-19', `${connection.name} was given token ${token} of ${first.connection.name}`)
      // Told late, another one may have had the lock since.
      if (before?.token === token) Object.assign(before, lease)
      return
    }
    this.#watch.count('locks granted')
    this.#said.set(name, [...grants, { token, connection, atMs: now }])
    // Told late, because its socket was full: another one has had the lock since.
    if (token < (this.#greatest.get(name) ?? 0)) return
    if (before !== undefined && before.run === this.#runOf())
      this.#checkBefore(connection, name, before, arrivedAtMs, now)
    this.#checkRefusals(name, arrivedAtMs)
    this.#greatest.set(name, token)
    this.#granted.set(name, {
      connection,
      token,
      run: this.#runOf(),
      saidAtMs: now,
      releasedAtMs: this.#cancelledAtMs.get(requestId),
      ...lease,
    })
  }

  refused(requestId: string | undefined): void {
    if (requestId !== undefined) this.#requests.delete(requestId)
  }

  /** A fenced write was answered. */
  answered(connection: Connection, id: string, isTaken: boolean, errorCode: string | undefined): void {
    const arrival = this.#arrivals.get(`${connection.id} ${id}`)
    if (arrival === undefined) return
    const { fence, isStale } = arrival
    const { name, token } = fence
    if (isTaken) {
      this.#watch.count('fenced writes taken')
      if (isStale) this.#watch.fail('INV-19', `${id} was taken under token ${token} of '${name}', which was over`)
    } else if (errorCode === 'STALE_TOKEN') {
      this.#watch.count('fenced writes refused')
      const grant = this.#granted.get(name)
      if (grant?.token !== token || grant.run !== this.#runOf()) return
      const refusal = { id, token, run: grant.run, answeredAtMs: this.#watch.virtualNow() }
      this.#refusals.set(name, [...(this.#refusals.get(name) ?? []), refusal])
    }
  }

  /** An application has a lock. */
  believed(lock: Lock, isAlive: () => boolean): void {
    this.#held.set(lock.fencingToken, { lock, isAlive })
  }

  /** No later grant explains why a write was refused under the latest token. */
  checkEnd(): void {
    for (const name of this.#refusals.keys()) this.#checkRefusals(name, Infinity)
  }

  /** The lease before is over, its holder knows that, and it has not been over for long. */
  #checkBefore(connection: Connection, name: string, before: Grant, arrivedAtMs: number, now: number): void {
    const { token, connection: holder, leastUntilMs, mostUntilMs, releasedAtMs } = before
    const isGone = !holder.isServed
    if (!isGone && releasedAtMs === undefined && now < leastUntilMs)
      this.#watch.fail('INV-19', `'${name}' was granted to ${connection.name} during the lease of ${holder.name}`)
    const held = this.#held.get(token)
    if (held !== undefined && holder.isWhole) {
      this.#watch.after(TIMER_MS, () => {
        if (holder.isWhole && held.isAlive() && !held.lock.signal.aborted)
          this.#watch.fail(
            'INV-19 alone',
            `${holder.name} believes to hold '${name}', which ${connection.name} was granted`,
          )
      })
    }
    const freeAtMs = Math.min(mostUntilMs, releasedAtMs ?? Infinity, holder.endedAtMs)
    const lateMs = now - Math.max(freeAtMs, arrivedAtMs)
    if (lateMs > LATE_MS && connection.silentMs > LATE_MS)
      this.#watch.fail('INV-19 late', `'${name}' was free for ${lateMs} ms before ${connection.name} was granted it`)
  }

  /** A write was refused under what was the latest token then, if the next one was asked for only after that. */
  #checkRefusals(name: string, askedAtMs: number): void {
    for (const { id, token, run, answeredAtMs } of this.#refusals.get(name) ?? []) {
      if (askedAtMs > answeredAtMs && run === this.#runOf())
        this.#watch.fail('INV-19', `${id} was refused under token ${token} of '${name}', which was the latest`)
    }
    this.#refusals.delete(name)
  }
}
