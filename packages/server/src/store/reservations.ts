import { MAX_COUNTER, type Env, type Stamp, type Value } from '@syncline/core'
import type { StorageAdapter, StorageState } from '@syncline/storage'

/** Seqs set aside ahead of use. A crash skips what is left of them. */
const SEQ_BLOCK = 1_000_000
const VERSION_BLOCK = 1_000_000
const TOKEN_BLOCK = 1_000_000
/** Tokens that each millisecond since 1970 has room for, so that those of a database which was lost stay below. */
const TOKENS_PER_MS = 1_000
/** Milliseconds since 1970 up to which the wall clock is believed where tokens begin: they have to stay safe integers. */
const MAX_SEED_MS = 4_000_000_000_000
const CLOCK_AHEAD_MS = 10_000
/** A key of the storage's values. */
const KEY = 'syncline.reserved'
/** Ranges kept apart. Past that the two oldest become one: pushing a record that was not lost does no harm. */
const LOST_RANGES_KEPT = 64

/** A range (from, to] of seqs in which commits may have been lost by an unclean stop. */
export type LostRange = readonly [from: number, to: number]

/** The greatest of everything that was handed out. */
export interface HandedOut {
  readonly seq: number
  readonly version: number
  /** Milliseconds of a server stamp. */
  readonly millis: number
  /** Fencing token of a lock. */
  readonly token: number
}

/** Where a run starts: everything is handed out above this. */
export interface Start extends HandedOut {
  readonly versionFloor: number
  readonly after: Stamp | undefined
}

/**
 * What the server promises never to hand out twice (seqs, record versions, fencing tokens, its own stamps), kept in
 * storage ahead of use. After an unclean stop the server goes on above what it had set aside, and remembers the seqs in between as lost.
 */
export class Reservations {
  /** Greatest seq that may be handed out. */
  seqLimit = Number.MAX_SAFE_INTEGER
  /** Greatest record version that may be handed out. */
  versionLimit = Number.MAX_SAFE_INTEGER
  /** Greatest milliseconds of a server stamp that may be handed out. */
  millisLimit = Number.MAX_SAFE_INTEGER
  /** Greatest fencing token that may be handed out. */
  tokenLimit = Number.MAX_SAFE_INTEGER
  lostRanges: LostRange[] = []
  readonly #storage: StorageAdapter | undefined
  readonly #maxDriftMs: number
  #versionFloor = 0

  constructor(storage: StorageAdapter | undefined, maxDriftMs: number) {
    this.#storage = storage
    this.#maxDriftMs = maxDriftMs
  }

  /** Reads what the last run left and sets aside the first block. Answers where this run starts. */
  async start(env: Env, state: StorageState | undefined): Promise<Start> {
    // Also of a database that was lost or brought back from a copy, the tokens go on above.
    const tokenSeed = Math.min(env.now(), MAX_SEED_MS) * TOKENS_PER_MS
    if (this.#storage === undefined || state === undefined) {
      // Memory storage is a database whose last stop lost everything: seqs go on above any that an earlier run used.
      const seq = env.now() * 1000
      this.lostRanges = [[0, seq]]
      return { seq, versionFloor: 0, version: 0, millis: 0, token: tokenSeed, after: undefined }
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
    const version = Math.max(versionFloor, stored.version)
    const token = Math.max(stored.token, tokenSeed)
    const { millis } = stored
    const values = this.renewal({ seq, version, millis, token }, env.now(), true)
    await this.#storage.write({ records: [], seq: state.durableSeq, values: values ?? {} })
    this.granted(values)
    // Any counter of that millisecond may have been used.
    return { seq, version, versionFloor, millis, token, after: { millis, counter: MAX_COUNTER, nodeId: '' } }
  }

  /** The values to store with the next batch so that less than half a block is never left; undefined if none are due. */
  renewal(used: HandedOut, wallMs: number, isDue = false): Record<string, Value> | undefined {
    if (this.#storage === undefined) return undefined
    const { seq, version, millis, token } = used
    // After a pause the latest stamp is old: the next ones are taken from the wall clock.
    const from = Math.max(millis, wallMs)
    const due =
      isDue ||
      this.seqLimit - seq < SEQ_BLOCK / 2 ||
      this.versionLimit - version < VERSION_BLOCK / 2 ||
      this.isTokenBlockDue(token) ||
      this.millisLimit - from < CLOCK_AHEAD_MS / 2
    if (!due) return undefined
    // Stamps of clients may be ahead by the drift allowed: never set aside more, or the next run would be too far ahead.
    const ahead = Math.max(millis, Math.min(from + CLOCK_AHEAD_MS, wallMs + this.#maxDriftMs))
    return this.#values(false, {
      seq: seq + SEQ_BLOCK,
      version: version + VERSION_BLOCK,
      millis: ahead,
      token: token + TOKEN_BLOCK,
    })
  }

  /** Less than half a block of tokens is left. */
  isTokenBlockDue(token: number): boolean {
    return this.tokenLimit - token < TOKEN_BLOCK / 2
  }

  /** The values were stored: what they set aside may be used. */
  granted(values: Readonly<Record<string, Value>> | undefined): void {
    if (values === undefined) return
    const stored = readReserved(values[KEY] ?? null)
    this.seqLimit = stored.seq
    this.versionLimit = stored.version
    this.millisLimit = stored.millis
    this.tokenLimit = stored.token
  }

  /** The values that mark a clean stop: nothing is lost, and the next run starts where this one ended. */
  cleanStop(used: HandedOut): Record<string, Value> {
    return this.#values(true, used)
  }

  #values(isClean: boolean, { seq, version, millis, token }: HandedOut): Record<string, Value> {
    const lost = this.lostRanges.map(([from, to]) => [from, to])
    return { [KEY]: { isClean, seq, version, millis, token, versionFloor: this.#versionFloor, lost } }
  }
}

interface Reserved extends HandedOut {
  readonly isClean: boolean
  readonly versionFloor: number
  readonly lost: readonly LostRange[]
}

const NOTHING: Reserved = { isClean: true, seq: 0, version: 0, millis: 0, token: 0, versionFloor: 0, lost: [] }

/** Builds before there were locks stored no token. */
function readReserved(value: Value): Reserved {
  return value === null ? NOTHING : { ...NOTHING, ...(value as unknown as Partial<Reserved>) }
}
