import {
  compareStamps,
  isAheadOfClock,
  isExpired,
  isMap,
  latestStamp,
  measureValue,
  mergeRecords,
  patchRecord,
  wholeWrite,
  type Env,
  type FieldState,
  type LwwRecord,
  type ValueMap,
} from '@syncline/core'
import { LIMITS, wireError, type ClientOp, type WireError, type WriteConcern } from '@syncline/protocol'
import type { WriteGrant } from '../inbound/authorize.ts'
import { forbidden } from '../inbound/authorize.ts'
import type { Entry, MapState } from './map-state.ts'
import type { DurableCallback, Persister } from './persister.ts'
import type { Sequencer } from './sequencer.ts'

/** What became of one write. */
export type CommitOutcome =
  | {
      readonly ok: true
      /** Position of the commit; of the record's latest one where the write changed nothing. */
      readonly seq: number
      readonly entry: Entry
      readonly changed: boolean
      /** The record is now exactly what was sent. */
      readonly exact: boolean
      /** Accepted, and lost at once to a newer write. */
      readonly superseded: boolean
    }
  | { readonly ok: false; readonly error: WireError }

/** The only place where data changes. Merges writes into maps, orders them, and hands them to storage and the feed. */
export class Committer {
  readonly #env: Env
  readonly #sequencer: Sequencer
  readonly #persister: Persister | undefined
  readonly #maxDriftMs: number
  readonly #onChange: (map: MapState) => void

  constructor(
    env: Env,
    sequencer: Sequencer,
    persister: Persister | undefined,
    maxDriftMs: number,
    onChange: (map: MapState) => void,
  ) {
    this.#env = env
    this.#sequencer = sequencer
    this.#persister = persister
    this.#maxDriftMs = maxDriftMs
    this.#onChange = onChange
  }

  /** Why a write at this level would be refused before anything is applied, if it would. */
  refusal(level: WriteConcern): WireError | undefined {
    if (level === 'PERSISTED' || level === 'REPLICATED') {
      if (this.#persister?.isDurable !== true)
        return wireError('WRITE_CONCERN_UNAVAILABLE', `This server has no durable storage, so it cannot give ${level}.`)
    }
    if (this.#persister?.fault !== undefined) return this.#persister.fault
    return this.#sequencer.canCommit ? undefined : wireError('STORAGE_UNAVAILABLE')
  }

  /** The level that an acknowledgement names: without a cluster, durable storage answers REPLICATED by PERSISTED. */
  levelGiven(level: WriteConcern): WriteConcern {
    return level === 'REPLICATED' ? 'PERSISTED' : level
  }

  /** Calls back when everything committed up to now is stored. */
  whenDurable(timeoutMs: number, done: DurableCallback): void {
    if (this.#persister === undefined) done(wireError('WRITE_CONCERN_UNAVAILABLE'))
    else this.#persister.whenDurable(timeoutMs, done)
  }

  /** Applies one client's write to a map in memory. */
  write(map: MapState, op: ClientOp, grant: WriteGrant): CommitOutcome {
    const denied = denial(op, grant)
    if (denied !== undefined) return { ok: false, error: denied }
    const stamp = op.record.timestamp
    if (isAheadOfClock(stamp, this.#env.now(), this.#maxDriftMs)) return { ok: false, error: this.#clockSkew() }
    const entry = map.entriesByKey.get(op.key)
    if (op.opType === 'PATCH') {
      if (entry === undefined) {
        return { ok: false, error: wireError('NOT_FOUND', `There is no record '${op.key}' to change; PUT it first.`) }
      }
      const write = {
        stamp,
        set: op.record.value as ValueMap,
        ...(op.record.unset === undefined ? {} : { unset: op.record.unset }),
      }
      const before = entry.record
      const fault = this.#apply(map, entry, patchRecord(before, write))
      if (fault !== undefined) return { ok: false, error: fault }
      const changed = entry.record !== before
      return {
        ok: true,
        seq: entry.seq,
        entry,
        changed,
        exact: false,
        superseded: isPatchLost(entry.record, op, this.#env.now()),
      }
    }
    const incoming = wholeWrite(op.opType === 'REMOVE' ? null : op.record.value, stamp, op.record.ttlMs)
    if (entry === undefined) return this.#create(map, op.key, incoming)
    const before = entry.record
    const fault = this.#apply(map, entry, mergeRecords(before, incoming), incoming)
    if (fault !== undefined) return { ok: false, error: fault }
    const { record, seq } = entry
    const superseded = compareStamps(record.base, stamp) > 0
    return { ok: true, seq, entry, changed: record !== before, exact: record === incoming, superseded }
  }

  /** Merges a record that a client holds and the server may have lost, with all its stamps. */
  push(map: MapState, key: string, incoming: LwwRecord): CommitOutcome {
    if (isAheadOfClock(latestStamp(incoming), this.#env.now(), this.#maxDriftMs))
      return { ok: false, error: this.#clockSkew() }
    if (isAheadOfClock(incoming.timestamp, this.#env.now(), this.#maxDriftMs))
      return { ok: false, error: this.#clockSkew() }
    const entry = map.entriesByKey.get(key)
    if (entry === undefined) return this.#create(map, key, incoming)
    const before = entry.record
    const fault = this.#apply(map, entry, mergeRecords(before, incoming), incoming)
    if (fault !== undefined) return { ok: false, error: fault }
    const { record, seq } = entry
    return { ok: true, seq, entry, changed: record !== before, exact: record === incoming, superseded: false }
  }

  #create(map: MapState, key: string, incoming: LwwRecord): CommitOutcome {
    if (compareStamps(incoming.timestamp, map.prunedThroughStamp) <= 0) {
      return { ok: false, error: wireError('STALE', undefined, { prunedThrough: map.prunedThroughStamp }) }
    }
    const oversize = recordFault(incoming, false)
    if (oversize !== undefined) return { ok: false, error: oversize }
    const entry = map.blank(key, incoming, incoming.timestamp)
    this.#advance(map, entry, incoming)
    return { ok: true, seq: entry.seq, entry, changed: true, exact: true, superseded: false }
  }

  /** Gives an entry its merged record, if that is another one. `incoming` is the whole record it was merged with. */
  #apply(map: MapState, entry: Entry, merged: LwwRecord, incoming?: LwwRecord): WireError | undefined {
    const { record } = entry
    if (merged === record) return undefined
    // Two maps with equal base stamps are joined, so that even without field writes the value may be a new, larger one.
    const isJoined = merged.value !== record.value && merged.value !== incoming?.value
    const oversize = recordFault(merged, isJoined)
    if (oversize !== undefined) return oversize
    // Existing clients ignore a record whose timestamp they know already: a visible change must raise it.
    const isHidden = merged.value === record.value
    const raised =
      isHidden || compareStamps(merged.timestamp, record.timestamp) > 0
        ? merged
        : { ...merged, timestamp: this.#sequencer.stampAbove(merged.timestamp) }
    this.#advance(map, entry, raised)
    return undefined
  }

  #advance(map: MapState, entry: Entry, record: LwwRecord): void {
    entry.version = this.#sequencer.nextVersion(entry.version)
    map.advance(entry, record, this.#sequencer.nextSeq(), this.#sequencer.stamp())
    this.#persister?.add(entry)
    this.#onChange(map)
  }

  #clockSkew(): WireError {
    const serverTime = this.#env.now()
    return wireError('CLOCK_SKEW', undefined, { serverTime, maxClockDriftMs: this.#maxDriftMs })
  }
}

function denial(op: ClientOp, grant: WriteGrant): WireError | undefined {
  if (op.opType === 'REMOVE') return grant.canRemove ? undefined : forbidden(op.mapName, 'REMOVE')
  if (!grant.canPut) return forbidden(op.mapName, 'PUT')
  if (grant.fields === undefined) return undefined
  if (op.opType !== 'PATCH') {
    return wireError('FORBIDDEN', `On map '${op.mapName}' only some fields may be written: change them with PATCH.`)
  }
  for (const name of [...Object.keys(op.record.value as ValueMap), ...(op.record.unset ?? [])]) {
    if (!grant.fields.has(name))
      return wireError('FORBIDDEN', `No policy allows writing field '${name}' on map '${op.mapName}'.`)
  }
  return undefined
}

/** Nothing of the field write can be seen: the record is removed, expired or no map, or every field has a later write. */
function isPatchLost(record: LwwRecord, op: ClientOp, nowMs: number): boolean {
  if (!isMap(record.value) || isExpired(record, nowMs)) return true
  const names = [...Object.keys(op.record.value as ValueMap), ...(op.record.unset ?? [])]
  return !names.some((name) => {
    const state = record.fields !== undefined && Object.hasOwn(record.fields, name) ? record.fields[name] : undefined
    return state !== undefined && compareStamps(state.stamp, op.record.timestamp) === 0
  })
}

/** Whole writes are measured where they are decoded; what writes add up to is known only here. */
function recordFault(record: LwwRecord, isJoined: boolean): WireError | undefined {
  if (record.fields === undefined && !isJoined) return undefined
  const names = Object.keys(record.fields ?? {})
  if (names.length > LIMITS.recordFields)
    return wireError('TOO_LARGE', undefined, { limit: 'recordFields', max: LIMITS.recordFields })
  let size = measureValue(record.value)
  if (typeof size !== 'number') return wireError(size)
  for (const name of names) {
    const state = record.fields?.[name] as FieldState
    const hidden = state.value === undefined ? 0 : measureValue(state.value)
    if (typeof hidden !== 'number') return wireError(hidden)
    size += name.length * 3 + state.stamp.nodeId.length * 3 + 24 + hidden
  }
  return size > LIMITS.valueBytes
    ? wireError('TOO_LARGE', undefined, { limit: 'valueBytes', max: LIMITS.valueBytes })
    : undefined
}
