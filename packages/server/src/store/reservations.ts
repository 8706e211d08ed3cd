import { MAX_COUNTER, type Env, type Stamp, type Value } from '@syncline/core'
import type { StorageAdapter, StorageState } from '@syncline/storage'

/** Seqs set aside ahead of use. A crash skips what is left of them. */
const SEQ_BLOCK = 1_000_000
const VERSION_BLOCK = 1_000_000
const CLOCK_AHEAD_MS = 10_000
/** A key of the storage's values. */
const KEY = 'syncline.reserved'
/** Ranges kept apart. Past that the two oldest become one: pushing a record that was not lost does no harm. */
const LOST_RANGES_KEPT = 64

/** A range (from, to] of seqs in which commits may have been lost by an unclean stop. */
export type LostRange = readonly [from: number, to: number]

/**
 * What the server promises never to hand out twice (seqs, record versions, its own stamps), kept in storage ahead of
 * use. After an unclean stop the server goes on above what it had set aside, and remembers the seqs in between as lost.
 */
export class Reservations {
  /** Greatest seq that may be handed out. */
  seqLimit = Number.MAX_SAFE_INTEGER
  /** Greatest record version that may be handed out. */
  versionLimit = Number.MAX_SAFE_INTEGER
  /** Greatest milliseconds of a server stamp that may be handed out. */
  millisLimit = Number.MAX_SAFE_INTEGER
  lostRanges: LostRange[] = []
  readonly #storage: StorageAdapter | undefined
  readonly #maxDriftMs: number
  #versionFloor = 0

  constructor(storage: StorageAdapter | undefined, maxDriftMs: number) {
    this.#storage = storage
    this.#maxDriftMs = maxDriftMs
  }

  /** Reads what the last run left and sets aside the first block. Answers where this run starts. */
  async start(
    env: Env,
    state: StorageState | undefined,
  ): Promise<{ seq: number; versionFloor: number; greatestVersion: number; after: Stamp | undefined }> {
    if (this.#storage === undefined || state === undefined) {
      // Memory storage is a database whose last stop lost everything: seqs go on above any that an earlier run used.
      const seq = env.now() * 1000
      this.lostRanges = [[0, seq]]
      return { seq, versionFloor: 0, greatestVersion: 0, after: undefined }
    }
    const stored = readReserved(await this.#storage.get(KEY))
    this.lostRanges = [...stored.lost]
    let seq = state.durableSeq
    let versionFloor = stored.versionFloor
    if (!stored.isClean) {
      // A run that stored nothing before it was cut off as well lost no more than the one before it.
      if (this.lostRanges.at(-1)?.[0] === seq) this.lostRanges.pop()
      if (stored.seq > seq) this.lostRanges.push([seq, stored.seq])
      seq = Math.max(seq, stored.seq)
      versionFloor = Math.max(versionFloor, stored.version)
      while (this.lostRanges.length > LOST_RANGES_KEPT) {
        const [first, second] = this.lostRanges.splice(0, 2) as [LostRange, LostRange]
        this.lostRanges.unshift([first[0], second[1]])
      }
    }
    this.#versionFloor = versionFloor
    const greatestVersion = Math.max(versionFloor, stored.version)
    const values = this.renewal(seq, greatestVersion, stored.millis, env.now(), true)
    await this.#storage.write({ records: [], seq: state.durableSeq, values: values ?? {} })
    this.granted(values)
    // Any counter of that millisecond may have been used.
    return { seq, versionFloor, greatestVersion, after: { millis: stored.millis, counter: MAX_COUNTER, nodeId: '' } }
  }

  /** The values to store with the next batch so that less than half a block is never left; undefined if none are due. */
  renewal(
    seq: number,
    version: number,
    millis: number,
    wallMs: number,
    isDue = false,
  ): Record<string, Value> | undefined {
    if (this.#storage === undefined) return undefined
    // After a pause the latest stamp is old: the next ones are taken from the wall clock.
    const from = Math.max(millis, wallMs)
    const due =
      isDue ||
      this.seqLimit - seq < SEQ_BLOCK / 2 ||
      this.versionLimit - version < VERSION_BLOCK / 2 ||
      this.millisLimit - from < CLOCK_AHEAD_MS / 2
    if (!due) return undefined
    // Stamps of clients may be ahead by the drift allowed: never set aside more, or the next run would be too far ahead.
    const ahead = Math.max(millis, Math.min(from + CLOCK_AHEAD_MS, wallMs + this.#maxDriftMs))
    return {
      [KEY]: reserved(false, seq + SEQ_BLOCK, version + VERSION_BLOCK, ahead, this.#versionFloor, this.lostRanges),
    }
  }

  /** The values were stored: what they set aside may be used. */
  granted(values: Readonly<Record<string, Value>> | undefined): void {
    if (values === undefined) return
    const stored = readReserved(values[KEY] ?? null)
    this.seqLimit = stored.seq
    this.versionLimit = stored.version
    this.millisLimit = stored.millis
  }

  /** The values that mark a clean stop: nothing is lost, and the next run starts where this one ended. */
  cleanStop(seq: number, version: number, millis: number): Record<string, Value> {
    return { [KEY]: reserved(true, seq, version, millis, this.#versionFloor, this.lostRanges) }
  }
}

interface Reserved {
  readonly isClean: boolean
  readonly seq: number
  readonly version: number
  readonly millis: number
  readonly versionFloor: number
  readonly lost: readonly LostRange[]
}

function reserved(
  isClean: boolean,
  seq: number,
  version: number,
  millis: number,
  versionFloor: number,
  lost: readonly LostRange[],
): Value {
  return { isClean, seq, version, millis, versionFloor, lost: lost.map(([from, to]) => [from, to]) }
}

function readReserved(value: Value): Reserved {
  if (value === null) return { isClean: true, seq: 0, version: 0, millis: 0, versionFloor: 0, lost: [] }
  return value as unknown as Reserved
}
