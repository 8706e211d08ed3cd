import type { Env } from '@syncline/core'
import { CLOSE_CODES } from '@syncline/protocol'
import type { Session } from '../sessions/session.ts'
import type { Limits } from '../telemetry/limits.ts'

/** How fast connections may come, and how many may be there. */
export interface RateLimits {
  readonly enabled: boolean
  readonly maxConnectionsPerSecond: number
  readonly maxPendingConnections: number
}

/** How long an address that was refused is thought to come back. Clients wait up to half of it. */
const WAITING_MS = 60_000
/** Addresses that are told apart. All that come beyond them share one place. */
const MAX_ADDRESSES = 10_000
const OTHERS = 'others'

/** What one address has of the connections. */
interface Share {
  /** Connections admitted in the present second and in the one before. */
  accepted: number
  acceptedBefore: number
  /** Connections of it that are not authenticated. */
  pending: number
  /** It was refused, has not been admitted since, and may be back until then. 0 where it does not wait. */
  waitsUntilMs: number
}

/**
 * Decides whether another connection is taken, before anything is done for it. One address may use up all that the
 * limits allow, but only while no other is kept waiting by that: then each of them has an equal share.
 */
export class ConnectionRate {
  readonly #env: Env
  readonly #rates: RateLimits
  readonly #maxConnections: number
  readonly #limits: Limits
  readonly #shares = new Map<string, Share>()
  /** Sessions that were admitted and are not authenticated, the oldest first. */
  readonly #sessions = new Set<Session>()
  #windowStart = 0
  #accepted = 0
  #acceptedBefore = 0
  #pending = 0
  /** Addresses that wait. Those that no longer do by the time alone are found once a second. */
  #waiting = 0

  constructor(env: Env, rates: RateLimits, maxConnections: number, limits: Limits) {
    this.#env = env
    this.#rates = rates
    this.#maxConnections = maxConnections
    this.#limits = limits
  }

  /** True if a connection may be taken beside those that are there. It then counts as one that is not authenticated. */
  admit(connections: number, remoteAddress: string): boolean {
    if (connections >= this.#maxConnections) return this.#refuse('connections.maxConnections')
    if (!this.#rates.enabled) return true
    const now = this.#env.monotonic()
    this.#turnWindow(now)
    const share = this.#shareOf(this.#keyOf(remoteAddress))
    const wasWaiting = share.waitsUntilMs > 0
    const limit = !this.#isWithinRate(share, now)
      ? 'rateLimiting.maxConnectionsPerSecond'
      : this.#isWithinPending(share)
        ? undefined
        : 'rateLimiting.maxPendingConnections'
    if (limit !== undefined) {
      if (!wasWaiting) this.#waiting++
      share.waitsUntilMs = now + WAITING_MS
      return this.#refuse(limit)
    }
    if (wasWaiting) this.#waiting--
    share.waitsUntilMs = 0
    share.accepted++
    share.pending++
    this.#accepted++
    this.#pending++
    return true
  }

  /** A connection that was admitted has a session. */
  opened(session: Session): void {
    if (this.#rates.enabled) this.#sessions.add(session)
  }

  /** A session is authenticated, or gone. */
  settled(session: Session): void {
    if (this.#sessions.delete(session)) this.aborted(session.remoteAddress)
  }

  /** A connection that was admitted did not come to be. */
  aborted(remoteAddress: string): void {
    const own = this.#shares.get(networkOf(remoteAddress))
    // It may have come when there was no place for its address.
    const share = own !== undefined && own.pending > 0 ? own : this.#shares.get(OTHERS)
    if (share === undefined || share.pending === 0) return
    share.pending--
    this.#pending--
  }

  /** For the operator: what it remembers. */
  inspect(): { readonly addresses: number; readonly pending: number } {
    return { addresses: this.#shares.size, pending: this.#pending }
  }

  #refuse(limit: string): false {
    this.#limits.count(limit)
    return false
  }

  /** A sliding second: what is left of the second before counts by the part of it that is still in the window. */
  #isWithinRate(share: Share, now: number): boolean {
    const { maxConnectionsPerSecond } = this.#rates
    const before = 1 - (now - this.#windowStart) / 1_000
    if (this.#accepted + this.#acceptedBefore * before >= maxConnectionsPerSecond) return false
    const othersWaiting = this.#waiting - (share.waitsUntilMs > 0 ? 1 : 0)
    if (othersWaiting === 0) return true
    const fair = Math.max(1, maxConnectionsPerSecond / (othersWaiting + 1))
    return share.accepted + share.acceptedBefore * before < fair
  }

  /** Where all places are taken, the address that has most of them gives one up to one that has fewer. */
  #isWithinPending(share: Share): boolean {
    if (this.#pending < this.#rates.maxPendingConnections) return true
    let [most, heaviest] = [share.pending + 1, '']
    for (const [address, { pending }] of this.#shares) if (pending > most) [most, heaviest] = [pending, address]
    for (const session of this.#sessions) {
      if (heaviest === '' || networkOf(session.remoteAddress) !== heaviest) continue
      session.close(CLOSE_CODES.TRY_AGAIN_LATER, 'Server overloaded')
      this.#limits.count('rateLimiting.maxPendingConnections')
      return true
    }
    return false
  }

  #turnWindow(now: number): void {
    const elapsed = now - this.#windowStart
    if (elapsed < 1_000) return
    const isNext = elapsed < 2_000
    this.#acceptedBefore = isNext ? this.#accepted : 0
    this.#accepted = 0
    this.#windowStart = isNext ? this.#windowStart + 1_000 : now
    this.#waiting = 0
    for (const [address, share] of this.#shares) {
      share.acceptedBefore = isNext ? share.accepted : 0
      share.accepted = 0
      if (share.waitsUntilMs > now) this.#waiting++
      else share.waitsUntilMs = 0
      if (share.acceptedBefore === 0 && share.pending === 0 && share.waitsUntilMs === 0) this.#shares.delete(address)
    }
  }

  #shareOf(address: string): Share {
    let share = this.#shares.get(address)
    if (share === undefined) {
      share = { accepted: 0, acceptedBefore: 0, pending: 0, waitsUntilMs: 0 }
      this.#shares.set(address, share)
    }
    return share
  }

  #keyOf(remoteAddress: string): string {
    const address = networkOf(remoteAddress)
    return this.#shares.has(address) || this.#shares.size < MAX_ADDRESSES ? address : OTHERS
  }
}

/** What one customer of a network has: an address of IPv4, the first 64 bits of one of IPv6. */
export function networkOf(remoteAddress: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(remoteAddress)
  if (mapped !== null) return mapped[1] as string
  if (!remoteAddress.includes(':')) return remoteAddress
  const [head = '', tail] = (remoteAddress.split('%')[0] as string).toLowerCase().split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => '0')
  return [...first, ...zeros, ...last].slice(0, 4).join(':')
}
