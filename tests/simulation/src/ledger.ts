import { compareStamps, fieldStamp, formatStamp, isMap, type LwwRecord, type Stamp, type Value } from '@syncline/core'
import type { ClientOp, OpResult, WriteConcern } from '@syncline/protocol'

/** What became of a write that the oracle must not ask for. */
export type Excuse = 'fire-and-forget' | 'lost with its tab' | 'rejected'

/** One write, from the moment when an application made it, and all that was seen of it since. */
export interface Entry {
  readonly id: string
  /** Its place among all writes of the run, in the order in which they were made. */
  readonly number: number
  readonly machine: string
  /** The run of the tab that made it; undefined for bare clients. */
  readonly tab: string | undefined
  /** Who wrote it; undefined where the client did not know that from the server. */
  readonly user: string | undefined
  /** Its writer may read and write a part of the map only. */
  readonly isGuest: boolean
  readonly mapName: string
  readonly key: string
  concern: WriteConcern
  /** Its application saw what the server had confirmed of the key when it wrote. */
  readonly wasThere: boolean
  /** The key was deleted and forgotten before the write came: it must not bring it back. */
  isTooLate: boolean
  /** The stamp of a later whole write of the key that its tab was shown. */
  overtakenBy: Stamp | undefined
  /** Its value is in storage: a tab that dies does not take it along. */
  isStored: boolean
  isTabDead: boolean
  /** As it was last seen on the wire. */
  op: ClientOp | undefined
  /** Every stamp under which it was sent. */
  readonly stamps: Stamp[]
  sendCount: number
  /** The last answer of the server. */
  answer: OpResult | undefined
  /** A tab of its machine has heard that it was taken. */
  isHeard: boolean
  wasAccepted: boolean
  /** When that was last said. */
  acceptedAtMs: number
  wasPersisted: boolean
  rejected: string | undefined
  conflicts: number
  /** The writes that stood in its place when it was answered as superseded. */
  lostTo: readonly Entry[]
}

/** All writes of a run, by id, by stamp and by the text that each puts into its values. */
export class Ledger {
  readonly entries = new Map<string, Entry>()
  readonly #byStamp = new Map<string, Entry[]>()
  readonly #byTag = new Map<string, Entry>()

  /** An application wrote. `tag` is in every value of the write. */
  wrote(
    write: Pick<Entry, 'id' | 'machine' | 'tab' | 'user' | 'isGuest' | 'mapName' | 'key' | 'concern' | 'wasThere'>,
    tag: string | undefined,
  ): Entry {
    const entry: Entry = {
      ...write,
      number: this.entries.size,
      isTooLate: false,
      overtakenBy: undefined,
      isStored: false,
      isTabDead: false,
      op: undefined,
      stamps: [],
      sendCount: 0,
      answer: undefined,
      isHeard: false,
      wasAccepted: false,
      acceptedAtMs: 0,
      wasPersisted: false,
      rejected: undefined,
      conflicts: 0,
      lostTo: [],
    }
    this.entries.set(entry.id, entry)
    if (tag !== undefined) this.#byTag.set(tag, entry)
    return entry
  }

  /** An op was seen on its way to the server. */
  sent(id: string, op: ClientOp, concern: WriteConcern): void {
    const entry = this.entries.get(id)
    if (entry === undefined) return
    entry.op = op
    entry.sendCount++
    entry.concern = concern
    const stamp = op.record.timestamp
    if (entry.stamps.some((known) => compareStamps(known, stamp) === 0)) return
    entry.stamps.push(stamp)
    const text = formatStamp(stamp)
    const same = this.#byStamp.get(text)
    if (same === undefined) this.#byStamp.set(text, [entry])
    else same.push(entry)
  }

  /** The writes that were sent under a stamp. */
  at(stamp: Stamp): readonly Entry[] {
    return this.#byStamp.get(formatStamp(stamp)) ?? []
  }

  /** The write that a shown value comes from. */
  ofTag(value: unknown): Entry | undefined {
    return typeof value === 'string' ? this.#byTag.get(value.slice(value.lastIndexOf(' ') + 1)) : undefined
  }

  /** The writes of a key. */
  of(mapName: string, key: string): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.mapName === mapName && entry.key === key)
  }
}

/** Why a write need not be in the final state, if there is a reason. */
export function excuseOf(entry: Entry): Excuse | undefined {
  if (entry.rejected !== undefined) return 'rejected'
  if (entry.concern === 'FIRE_AND_FORGET') return 'fire-and-forget'
  return entry.isTabDead && !entry.isStored && !entry.wasAccepted ? 'lost with its tab' : undefined
}

/** A record holds a write: the write's stamp is not greater than what stands in its place. */
export function covers(record: LwwRecord | undefined, op: ClientOp): boolean {
  if (record === undefined) return false
  const stamp = op.record.timestamp
  if (compareStamps(record.base, stamp) >= 0) return true
  return op.opType === 'PATCH' && fieldsOf(op).every((name) => compareStamps(fieldStamp(record, name), stamp) >= 0)
}

/** The fields that a PATCH names. */
export function fieldsOf(op: ClientOp): readonly string[] {
  return [...Object.keys(isMap(op.record.value) ? op.record.value : {}), ...(op.record.unset ?? [])]
}

/** A field of a value, where there is one. */
export function fieldOf(value: Value | undefined, name: string): Value | undefined {
  return isMap(value) && Object.hasOwn(value, name) ? value[name] : undefined
}
