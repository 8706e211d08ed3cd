import {
  compareStamps,
  isAheadOfClock,
  isExpired,
  isMap,
  measureValue,
  mergeRecords,
  patchRecord,
  wholeWrite,
  type Env,
  type FieldState,
  type LwwRecord,
  type Stamp,
  type ValueMap,
} from '@syncline/core'
import {
  LIMITS,
  wireError,
  type ReceivedOp,
  type ReceivedRecord,
  type WireError,
  type WriteConcern,
} from '@syncline/protocol'
import { forbidden, lockResource, type PushGrant, type WriteGrant } from '../inbound/authorize.ts'
import type { Fences } from './fences.ts'
import type { Entry } from './map-state.ts'
import type { DurableCallback, Persister } from './persister.ts'
import { joinMarks, markValues, type PrunedMark } from './pruned-mark.ts'
import type { Residency } from './residency.ts'
import type { Sequencer } from './sequencer.ts'
import type { WritableEntry, WritableMap } from './writable-map.ts'

/** Changes to one map under one right to make them. Each is taken or refused by itself. */
export type CommitRequest = WriteRequest | PushRequest

interface WriteRequest {
  readonly grant: WriteGrant
  readonly ops: readonly ReceivedOp[]
  /** How much must have happened before the ops are acknowledged. One that this server cannot give is refused. */
  readonly level: WriteConcern
  /** Says of which locks the writer may carry a fence; without it, of none. */
  readonly mayFence?: ((name: string) => boolean) | undefined
}

/** Records that a client holds and the server may have lost, with all their stamps. */
interface PushRequest {
  readonly grant: PushGrant
  readonly records: readonly PushedRecord[]
  readonly level: WriteConcern
}

/** A record in normal form and its key. */
export interface PushedRecord {
  readonly key: string
  readonly record: ReceivedRecord
}

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

/**
 * The only place where data changes, and only for who holds a grant. Merges changes into maps, orders them, and hands
 * them to storage and the feed.
 */
export class Committer {
  readonly #env: Env
  readonly #residency: Residency
  readonly #sequencer: Sequencer
  readonly #fences: Fences
  readonly #persister: Persister | undefined
  readonly #maxDriftMs: number
  readonly #onChange: (map: WritableMap) => void
  readonly #onTtl: (entry: WritableEntry) => void
  #stopped: WireError | undefined

  constructor(
    env: Env,
    residency: Residency,
    sequencer: Sequencer,
    fences: Fences,
    persister: Persister | undefined,
    maxDriftMs: number,
    onChange: (map: WritableMap) => void,
    onTtl: (entry: WritableEntry) => void,
  ) {
    this.#env = env
    this.#residency = residency
    this.#sequencer = sequencer
    this.#fences = fences
    this.#persister = persister
    this.#maxDriftMs = maxDriftMs
    this.#onChange = onChange
    this.#onTtl = onTtl
  }

  /** Makes changes to a map, which is in memory. The outcomes are those of the ops or records, in order. */
  commit(request: CommitRequest): CommitOutcome[] {
    const { grant, level } = request
    const map = this.#residency.resident(grant.mapName)
    if (map === undefined) throw new Error(`Map '${grant.mapName}' is not in memory`)
    const outcomes: CommitOutcome[] = []
    if ('ops' in request) {
      for (const op of request.ops) {
        const error =
          this.#refusalAt(level) ?? denial(op, request) ?? this.#skew(op.record.timestamp) ?? this.#stale(map, op)
        if (error !== undefined) outcomes.push({ ok: false, error })
        else if (op.opType === 'PATCH') outcomes.push(this.#patch(map, op, request.grant.fields))
        else outcomes.push(this.#merge(map, op.key, wholeOf(op)))
      }
    } else {
      for (const { key, record } of request.records) {
        const denied = record.value === null && !grant.canRemove ? forbidden(grant.mapName, 'REMOVE') : undefined
        const error = this.#refusalAt(level) ?? denied ?? this.#skew(record.timestamp)
        outcomes.push(error === undefined ? this.#merge(map, key, record) : { ok: false, error })
      }
    }
    return outcomes
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

  /** There is room for changes that can wait. */
  get hasRoom(): boolean {
    return this.#stopped === undefined && this.#sequencer.canCommit && this.#persister?.isBusy !== true
  }

  /** Ends a record whose time to live has passed: removed under its own stamp, so that it loses to every later write. */
  expire(entry: WritableEntry): void {
    this.#merge(entry.map, entry.key, wholeWrite(null, entry.record.base))
  }

  /** Up to where followers of a map were told of commits, and storage has them. */
  settledSeq(map: WritableMap): number {
    return Math.min(map.announcedSeq, this.#persister?.durableSeq ?? Infinity)
  }

  /**
   * Forgets tombstones of a map: all that it has up to the last one of these. In storage first: what followers are told
   * to forget must not come back with a crash. Gives how many are forgotten; none where storage refuses.
   */
  async prune(map: WritableMap, tombstones: readonly Entry[]): Promise<number> {
    const marks = tombstones.map(({ seq, version, arrival, record }): PrunedMark => {
      return { seq, version, arrivedMs: arrival.millis, stamp: record.timestamp }
    })
    const pruned = marks.reduce(joinMarks, map.pruned)
    const forget = tombstones.map(({ key, seq }) => ({ mapName: map.name, key, seq }))
    // Its place in the order of commits is stored with it: whoever waits for all that was committed waits for it too.
    const seq = this.#sequencer.nextSeq()
    if ((await this.#persister?.forget(forget, markValues(map.name, pruned))) === false) return 0
    map.pruned = pruned
    for (const { key, seq: at } of forget) {
      const entry = map.entriesByKey.get(key)
      // Whoever wrote it meanwhile has made something else of it.
      if (entry?.seq === at) map.forget(entry)
    }
    map.log.mark(seq)
    this.#onChange(map)
    return forget.length
  }

  /** Takes no more changes: the server stops, and clients may come back after a time. */
  stop(retryAfterMs: number): void {
    this.#stopped = wireError('SHUTTING_DOWN', undefined, { retryAfterMs })
  }

  /** Why nothing is taken at present, neither changes nor locks, if so. A limit counts it as refused. */
  refusal(): WireError | undefined {
    return this.#stopped ?? this.#persister?.refusal()
  }

  /** Why a change at this level is refused before anything is applied, if it is. */
  #refusalAt(level: WriteConcern): WireError | undefined {
    if (level === 'PERSISTED' || level === 'REPLICATED') {
      if (this.#persister?.isDurable !== true)
        return wireError('WRITE_CONCERN_UNAVAILABLE', `This server has no durable storage, so it cannot give ${level}.`)
    }
    return this.refusal() ?? (this.#sequencer.canCommit ? undefined : wireError('STORAGE_UNAVAILABLE'))
  }

  #skew(stamp: Stamp): WireError | undefined {
    const serverTime = this.#env.now()
    return isAheadOfClock(stamp, serverTime, this.#maxDriftMs)
      ? wireError('CLOCK_SKEW', undefined, { serverTime, maxClockDriftMs: this.#maxDriftMs })
      : undefined
  }

  /** A write under a lock that was granted to another since. One that is there already came again, and is not refused. */
  #stale(map: WritableMap, op: ReceivedOp): WireError | undefined {
    if (op.fence === undefined) return undefined
    const refusal = this.#fences.refusal(op.fence)
    if (refusal === undefined) return undefined
    const record = map.entriesByKey.get(op.key)?.record
    return record !== undefined && isRepetition(record, op) ? undefined : refusal
  }

  /** Merges a whole record. In normal form no stamp in it is above its `timestamp`. */
  #merge(map: WritableMap, key: string, incoming: LwwRecord): CommitOutcome {
    const entry = map.entriesByKey.get(key)
    if (entry === undefined) return this.#create(map, key, incoming)
    const before = entry.record
    const fault = this.#apply(map, entry, mergeRecords(before, incoming), incoming)
    if (fault !== undefined) return { ok: false, error: fault }
    const { record, seq } = entry
    const superseded = compareStamps(record.base, incoming.base) > 0
    return { ok: true, seq, entry, changed: record !== before, exact: record === incoming, superseded }
  }

  #patch(map: WritableMap, op: ReceivedOp, writable: ReadonlySet<string> | undefined): CommitOutcome {
    const entry = map.entriesByKey.get(op.key)
    if (entry === undefined) {
      return { ok: false, error: wireError('NOT_FOUND', `There is no record '${op.key}' to change; PUT it first.`) }
    }
    const before = entry.record
    const fault = this.#apply(map, entry, patchRecord(before, fieldsOf(op)), undefined, writable)
    if (fault !== undefined) return { ok: false, error: fault }
    const { record, seq } = entry
    const superseded = isPatchLost(record, op, this.#env.now())
    return { ok: true, seq, entry, changed: record !== before, exact: false, superseded }
  }

  #create(map: WritableMap, key: string, incoming: LwwRecord): CommitOutcome {
    const { stamp: prunedThrough } = map.pruned
    if (compareStamps(incoming.timestamp, prunedThrough) <= 0)
      return { ok: false, error: wireError('STALE', undefined, { prunedThrough }) }
    const oversize = recordFault(incoming, false)
    if (oversize !== undefined) return { ok: false, error: oversize }
    const entry = map.blank(key, incoming, incoming.timestamp)
    this.#advance(map, entry, incoming)
    return { ok: true, seq: entry.seq, entry, changed: true, exact: true, superseded: false }
  }

  /**
   * Gives an entry its merged record, if that is another one. `incoming` is the whole record it was merged with;
   * `writable` are the only fields that its writer may write.
   */
  #apply(
    map: WritableMap,
    entry: WritableEntry,
    merged: LwwRecord,
    incoming?: LwwRecord,
    writable?: ReadonlySet<string>,
  ): WireError | undefined {
    const { record } = entry
    if (merged === record) return undefined
    // Two maps with equal base stamps are joined, so that even without field writes the value may be a new, larger one.
    const isJoined = merged.value !== record.value && merged.value !== incoming?.value
    const oversize = recordFault(writable === undefined ? merged : onlyFields(merged, writable), isJoined)
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

  #advance(map: WritableMap, entry: WritableEntry, record: LwwRecord): void {
    entry.version = this.#sequencer.nextVersion(entry.version)
    map.advance(entry, record, this.#sequencer.nextSeq(), this.#sequencer.stamp())
    this.#persister?.add(entry)
    if (record.ttlMs !== undefined) this.#onTtl(entry)
    this.#onChange(map)
  }
}

function wholeOf({ opType, record }: ReceivedOp): LwwRecord {
  return wholeWrite(opType === 'REMOVE' ? null : record.value, record.timestamp, record.ttlMs)
}

function fieldsOf({ record: { value, timestamp: stamp, unset } }: ReceivedOp): Parameters<typeof patchRecord>[1] {
  return { stamp, set: value as ValueMap, ...(unset === undefined ? {} : { unset }) }
}

function denial({ opType, record, fence }: ReceivedOp, { grant, mayFence }: WriteRequest): WireError | undefined {
  const { mapName, fields } = grant
  if (fence !== undefined && mayFence?.(fence.name) !== true) return forbidden(lockResource(fence.name), 'PUT')
  if (opType === 'REMOVE') return grant.canRemove ? undefined : forbidden(mapName, 'REMOVE')
  if (!grant.canPut) return forbidden(mapName, 'PUT')
  if (fields === undefined) return undefined
  if (opType !== 'PATCH') {
    return wireError('FORBIDDEN', `On map '${mapName}' only some fields may be written: change them with PATCH.`)
  }
  for (const name of [...Object.keys(record.value as ValueMap), ...(record.unset ?? [])]) {
    if (!fields.has(name))
      return wireError('FORBIDDEN', `No policy allows writing field '${name}' on map '${mapName}'.`)
  }
  return undefined
}

/** Nothing of the field write can be seen: the record is removed, expired or no map, or every field has a later write. */
function isPatchLost(record: LwwRecord, op: ReceivedOp, nowMs: number): boolean {
  return !isMap(record.value) || isExpired(record, nowMs) || !hasFieldOf(record, op)
}

/** Some field of the record was last written by the PATCH. */
function hasFieldOf(record: LwwRecord, op: ReceivedOp): boolean {
  const names = [...Object.keys(op.record.value as ValueMap), ...(op.record.unset ?? [])]
  return names.some((name) => {
    const state = record.fields !== undefined && Object.hasOwn(record.fields, name) ? record.fields[name] : undefined
    return state !== undefined && compareStamps(state.stamp, op.record.timestamp) === 0
  })
}

/** The record holds this very write already. */
function isRepetition(record: LwwRecord, op: ReceivedOp): boolean {
  if (op.opType === 'PATCH') return hasFieldOf(record, op) && patchRecord(record, fieldsOf(op)) === record
  const incoming = wholeOf(op)
  return compareStamps(record.base, incoming.base) === 0 && mergeRecords(record, incoming) === record
}

/**
 * What a writer of some fields is measured by: were it by the whole record, a refusal would tell how large fields are that
 * it may not see. So the fields of each policy that names some have the limit of a record for themselves.
 */
function onlyFields(record: LwwRecord, names: ReadonlySet<string>): LwwRecord {
  const own = <T>(fields: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => names.has(name)))
  const value = isMap(record.value) ? own(record.value) : null
  return record.fields === undefined ? { ...record, value } : { ...record, value, fields: own(record.fields) }
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
