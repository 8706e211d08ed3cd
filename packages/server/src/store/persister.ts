import type { Env, Value } from '@syncline/core'
import { wireError, type WireError } from '@syncline/protocol'
import { faultOf, type StorageAdapter, type StorageFault, type StoredRecord, type WriteBatch } from '@syncline/storage'
import type { Reservations } from './reservations.ts'
import type { Limits } from '../telemetry/limits.ts'
import type { Sequencer } from './sequencer.ts'
import { weightOf } from './weight.ts'
import type { WritableEntry } from './writable-map.ts'

/** Entries that may wait to be stored. Past that, writes are refused: storage is too slow for what is asked of it. */
const MAX_DIRTY = 200_000
/** Writes whose clients may wait for storage. Past that, writes are refused as well. */
const MAX_WAITERS = 100_000
const RETRY_MS = 1_000
/** How often a server that stops tries again: whoever waits for it has little time. */
const STOPPING_RETRY_MS = 100
const SWEEP_MS = 50
/** Faults that may pass: what was refused is written again. After any other one nothing is. */
const PASSING: ReadonlySet<StorageFault> = new Set(['full', 'unavailable', 'read-only', 'internal'])

/** Called when a write is stored, or with the reason why it is not yet. */
export type DurableCallback = (failure: WireError | undefined) => void

interface Waiter {
  readonly seq: number
  readonly deadlineMs: number
  readonly done: DurableCallback
}

/** What the persister needs of the store. */
export interface PersisterHost {
  readonly env: Env
  readonly limits: Limits
  readonly maxUnstoredBytes: number
  readonly onFatal: (error: Error) => void
}

/** What storage is to forget, and what it is to keep of that. */
interface Forgetting {
  readonly records: NonNullable<WriteBatch['forget']>
  readonly values: Readonly<Record<string, Value>>
  readonly settle: (isStored: boolean) => void
}

/**
 * Stores what changed, in group commits: one batch is under way, the next collects meanwhile. A batch holds the
 * present state of every entry that changed, so it is all commits up to one seq, whole.
 */
export class Persister {
  readonly #env: Env
  readonly #storage: StorageAdapter
  readonly #sequencer: Sequencer
  readonly #reservations: Reservations
  readonly #onFatal: (error: Error) => void
  readonly #limits: Limits
  readonly #maxBytes: number
  #dirty: WritableEntry[] = []
  #dirtyBytes = 0
  /** More is to be set aside, whether or not anything changed. */
  #isRenewing = false
  #forgettings: Forgetting[] = []
  /** Values that are to be stored with the next batch. */
  #kept: Readonly<Record<string, Value>> | undefined
  /** A batch is under way. */
  #isWriting = false
  /** Its entries, and what they weigh. */
  #writing: readonly WritableEntry[] = []
  #writingBytes = 0
  /** Storage failed for good: nothing is written any more, and nothing acknowledged. */
  #isDead = false
  #isDue = false
  #isStopping = false
  #cancelRetry: (() => void) | undefined
  #durableSeq: number
  #fault: WireError | undefined
  #waiters: Waiter[] = []
  #isSweeping = false
  #idle: (() => void)[] = []

  constructor(
    { env, limits, maxUnstoredBytes, onFatal }: PersisterHost,
    storage: StorageAdapter,
    sequencer: Sequencer,
    reservations: Reservations,
  ) {
    this.#env = env
    this.#storage = storage
    this.#sequencer = sequencer
    this.#reservations = reservations
    this.#limits = limits
    this.#maxBytes = maxUnstoredBytes
    this.#onFatal = onFatal
    this.#durableSeq = sequencer.seq
  }

  /** Why a write is refused at present, if it is. A limit counts it as refused. */
  refusal(): WireError | undefined {
    if (this.#fault !== undefined) return this.#fault
    if (this.#dirtyBytes + this.#writingBytes >= this.#maxBytes) return this.#over('maxUnstoredBytes', this.#maxBytes)
    if (this.#dirty.length > MAX_DIRTY) return this.#over('unstoredEntries', MAX_DIRTY)
    return this.#waiters.length > MAX_WAITERS ? this.#over('waitingWrites', MAX_WAITERS) : undefined
  }

  /** Storage refuses, or half of what may wait for it does: what can wait is better not added. */
  get isBusy(): boolean {
    return (
      this.#fault !== undefined ||
      this.#dirtyBytes + this.#writingBytes >= this.#maxBytes / 2 ||
      this.#dirty.length > MAX_DIRTY / 2
    )
  }

  #over(limit: string, max: number): WireError {
    return this.#limits.refusal(limit, max, { code: 'OVERLOADED', retryAfterMs: RETRY_MS })
  }

  /** What a resolved write of this storage survives. */
  get isDurable(): boolean {
    return this.#storage.durable
  }

  /** Every commit up to here is stored. */
  get durableSeq(): number {
    return this.#durableSeq
  }

  get dirtyCount(): number {
    return this.#dirty.length + this.#writing.length
  }

  /** The entry changed and is to be stored. */
  add(entry: WritableEntry): void {
    const isNew = entry.unstoredBytes === 0
    this.#collect(entry)
    if (isNew) this.#schedule()
  }

  /** Has values stored in the batch of what was added before in this turn. */
  keep(values: Readonly<Record<string, Value>>): void {
    this.#kept = { ...this.#kept, ...values }
  }

  /** Has more fencing tokens set aside where few are left: locks take them and change no entry. */
  renewTokens(): void {
    if (this.#isRenewing || !this.#reservations.isTokenBlockDue(this.#sequencer.handedOut.token)) return
    this.#isRenewing = true
    this.#schedule()
  }

  /**
   * Forgets records and stores values, in one batch, and after every commit up to now. Resolves with false where storage
   * refuses: nothing of it is stored then, nor will be.
   */
  forget(records: Forgetting['records'], values: Forgetting['values']): Promise<boolean> {
    if (this.#fault !== undefined) return Promise.resolve(false)
    return new Promise((settle) => {
      this.#forgettings.push({ records, values, settle })
      this.#schedule()
    })
  }

  #collect(entry: WritableEntry): void {
    const before = entry.unstoredBytes
    entry.unstoredBytes = weightOf(entry.key, entry.record)
    this.#dirtyBytes += entry.unstoredBytes - before
    if (before === 0) this.#dirty.push(entry)
  }

  /** Storage has failed for good: writes are refused from now on, and what waits is told. */
  die(cause: Error): void {
    if (this.#isDead) return
    this.#isDead = true
    this.#cancelRetry?.()
    this.#refuse(wireError('STORAGE_UNAVAILABLE'))
    this.#onFatal(cause)
  }

  /** Calls back when everything committed up to now is stored. */
  whenDurable(timeoutMs: number, done: DurableCallback): void {
    const { seq } = this.#sequencer
    if (seq <= this.#durableSeq) return done(undefined)
    if (this.#fault !== undefined) return done(this.#fault)
    this.#waiters.push({ seq, deadlineMs: this.#env.monotonic() + timeoutMs, done })
    if (!this.#isSweeping) {
      this.#isSweeping = true
      this.#env.after(SWEEP_MS, () => this.#sweep())
    }
  }

  /**
   * Stores what is left and marks the stop as clean. While storage refuses it is tried again, until the time is up.
   * Rejects where something is left that is not stored, unless storage failed for good: `onFatal` has said that.
   */
  async stop(timeoutMs?: number): Promise<void> {
    this.#isStopping = true
    let isLate = false
    const expire = (): void => {
      isLate = true
      this.#wakeIdle()
    }
    const cancel = timeoutMs === undefined ? undefined : this.#env.after(timeoutMs, expire)
    if (this.#fault !== undefined) this.#write()
    while (!isLate && !this.#isDead && this.dirtyCount > 0) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve)
        this.#schedule()
      })
    }
    cancel?.()
    if (this.dirtyCount > 0) this.#giveUp()
    if (this.#isDead) return
    const { seq } = this.#sequencer
    const values = this.#reservations.cleanStop(this.#sequencer.handedOut)
    try {
      await this.#storage.write({ records: [], seq, values })
    } catch (error) {
      // All records are stored. Without the mark the next start merely asks clients for what was not lost.
      this.#env.log('warn', 'The stop could not be marked as clean', { cause: (error as Error).message })
    }
  }

  #giveUp(): void {
    const records = this.dirtyCount
    this.#env.log('error', 'The server stops, and what changed last is not stored', { records })
    if (this.#isDead) return
    this.#isDead = true
    this.#cancelRetry?.()
    const cause = this.#isWriting ? 'Storage did not answer in time' : 'Storage refused what was left to be written'
    throw new Error(`${cause}: the changes of ${records} record${records === 1 ? '' : 's'} may not be stored.`)
  }

  #schedule(): void {
    if (this.#isDue || this.#isWriting || this.#fault !== undefined) return
    this.#isDue = true
    this.#env.endOfTurn(() => {
      this.#isDue = false
      this.#write()
    })
  }

  #write(): void {
    if (this.#isWriting || this.#isDead) return
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
    const entries = this.#dirty
    const forgettings = this.#forgettings
    const kept = this.#kept
    const isRenewing = this.#isRenewing
    // After a refusal an empty batch shows whether storage works again.
    const isNeeded = entries.length > 0 || forgettings.length > 0 || isRenewing || this.#fault !== undefined
    if (!isNeeded) return this.#wakeIdle()
    const { seq } = this.#sequencer
    const values = this.#reservations.renewal(this.#sequencer.handedOut, this.#env.now(), isRenewing)
    this.#isRenewing = false
    const records = entries.map(toStored)
    for (const entry of entries) entry.unstoredBytes = 0
    this.#dirty = []
    this.#forgettings = []
    this.#kept = undefined
    this.#isWriting = true
    this.#writing = entries
    this.#writingBytes = this.#dirtyBytes
    this.#dirtyBytes = 0
    this.#storage.write({ records, seq, ...restOf(values, kept, forgettings) }).then(
      () => {
        this.#endWriting()
        this.#reservations.granted(values)
        for (const { settle } of forgettings) settle(true)
        this.#stored(seq)
      },
      (error: unknown) => {
        this.#endWriting()
        for (const { settle } of forgettings) settle(false)
        // What changed again meanwhile is dirty already; the rest goes back to be written with it.
        for (const entry of entries) if (entry.unstoredBytes === 0) this.#collect(entry)
        if (kept !== undefined) this.#kept = { ...kept, ...this.#kept }
        this.#isRenewing ||= isRenewing
        this.#failed(error)
      },
    )
  }

  #endWriting(): void {
    this.#isWriting = false
    this.#writing = []
    this.#writingBytes = 0
  }

  #stored(seq: number): void {
    if (this.#isDead) return
    this.#durableSeq = seq
    if (this.#fault !== undefined) {
      this.#fault = undefined
      this.#env.log('info', 'Storage works again; writes are accepted')
    }
    const waiters = this.#waiters
    let reached = 0
    while (reached < waiters.length && (waiters[reached] as Waiter).seq <= seq)
      (waiters[reached++] as Waiter).done(undefined)
    if (reached > 0) this.#waiters = waiters.slice(reached)
    this.#write()
  }

  #failed(error: unknown): void {
    if (this.#isDead) return
    const fault = faultOf(error)
    const cause = error instanceof Error ? error : new Error(String(error))
    if (!PASSING.has(fault)) return this.die(cause)
    if (this.#fault === undefined) {
      this.#env.log('error', 'Storage refuses writes; reads go on and what waits is written later', {
        cause: cause.message,
      })
    }
    // Clients are told the code and its sentence: the cause names files of this machine.
    const code = fault === 'full' ? 'STORAGE_FULL' : 'STORAGE_UNAVAILABLE'
    this.#refuse(wireError(code, undefined, { retryAfterMs: RETRY_MS }))
    this.#cancelRetry = this.#env.after(this.#isStopping ? STOPPING_RETRY_MS : RETRY_MS, () => this.#write())
  }

  /** Refuses writes for a reason, from now on, and tells it to those who wait. */
  #refuse(fault: WireError): void {
    this.#fault = fault
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.done(fault)
    this.#wakeIdle()
  }

  #sweep(): void {
    const now = this.#env.monotonic()
    const late = this.#waiters.filter((waiter) => waiter.deadlineMs <= now)
    if (late.length > 0) {
      this.#waiters = this.#waiters.filter((waiter) => waiter.deadlineMs > now)
      const failure = wireError('TIMEOUT', 'Timeout: achieved APPLIED, requested PERSISTED')
      for (const waiter of late) waiter.done(failure)
    }
    this.#isSweeping = this.#waiters.length > 0
    if (this.#isSweeping) this.#env.after(SWEEP_MS, () => this.#sweep())
  }

  #wakeIdle(): void {
    const idle = this.#idle
    this.#idle = []
    for (const wake of idle) wake()
  }
}

/** What a batch holds beside its records. */
function restOf(
  reserved: Readonly<Record<string, Value>> | undefined,
  kept: Readonly<Record<string, Value>> | undefined,
  forgettings: readonly Forgetting[],
): Pick<WriteBatch, 'values' | 'forget'> {
  if (forgettings.length === 0) return (reserved ?? kept) === undefined ? {} : { values: { ...reserved, ...kept } }
  return {
    values: Object.assign({}, reserved, kept, ...forgettings.map(({ values }) => values)) as Record<string, Value>,
    forget: forgettings.flatMap(({ records }) => records),
  }
}

function toStored(entry: WritableEntry): StoredRecord {
  return {
    mapName: entry.map.name,
    key: entry.key,
    record: entry.record,
    seq: entry.seq,
    arrival: entry.arrival,
    version: entry.version,
  }
}
