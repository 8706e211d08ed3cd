import {
  ZERO_STAMP,
  compareStamps,
  counterRecord,
  isAheadOfClock,
  mergeCounterRows,
  mergeItems,
  mergeRecords,
  patchRecord,
  valuesEqual,
  wholeWrite,
  type CounterRow,
  type Env,
  type LwwRecord,
  type Stamp,
} from '@syncline/core'
import { wireError, type MapKind, type ReceivedOp, type WireError, type WriteConcern } from '@syncline/protocol'
import { forbidden } from '../inbound/authorize.ts'
import type { CommitObserver, CommitOutcome, CommitRequest, PushedRecord, WriteRequest } from './commit-request.ts'
import { COUNTER_NODES, CounterRows, rowIn } from './counter-rows.ts'
import type { Fences } from './fences.ts'
import { isItemOp, kindFault, kindValues, recordKindFault } from './kinds.ts'
import { denial, fieldsOf, isPatchLost, isRepetition, onlyFields, recordFault, wholeOf } from './op-rules.ts'
import type { Entry } from './map-state.ts'
import type { DurableCallback, Persister } from './persister.ts'
import { joinMarks, markValues, type PrunedMark } from './pruned-mark.ts'
import type { Residency } from './residency.ts'
import type { Sequencer } from './sequencer.ts'
import type { WritableEntry, WritableMap } from './writable-map.ts'

/** Who writes where it is the server itself. */
const SERVER_USER = '$server'

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
  readonly #counters: CounterRows
  #stopped: WireError | undefined
  #observer: CommitObserver | undefined
  /** Who makes the changes that are being made. */
  #userId = SERVER_USER
  /** What is being pushed is not older than the deletion of its key, whatever its stamp. */
  #hasMissedNone = false

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
    this.#counters = new CounterRows(() => this.#nodes)
  }

  /** Makes changes to a map, which is in memory. The outcomes are those of the ops or records, in order. */
  commit(request: CommitRequest): CommitOutcome[] {
    const { grant, level } = request
    const map = this.#residency.resident(grant.mapName)
    if (map === undefined) throw new Error(`Map '${grant.mapName}' is not in memory`)
    const outcomes: CommitOutcome[] = []
    this.#userId = grant.userId
    if ('ops' in request) {
      for (const op of request.ops) {
        const error =
          this.#refusalAt(level) ??
          denial(op, request.grant, request.mayFence) ??
          kindFault(map, op.opType) ??
          this.#skew(op.record.timestamp) ??
          this.#stale(map, op)
        if (error !== undefined) outcomes.push({ ok: false, error })
        else if (op.opType === 'PATCH') outcomes.push(this.#patch(map, op, request.grant.fields))
        else if (map.kind === 'pn') outcomes.push(this.#count(map, op, request))
        else if (isItemOp(op.opType)) outcomes.push(this.#mergeItem(map, op.key, wholeOf(op)))
        else outcomes.push(this.#merge(map, op.key, wholeOf(op)))
      }
    } else {
      this.#hasMissedNone = request.hasMissedNone === true
      for (const pushed of request.records) {
        const { key, record } = pushed
        const kind = map.kind ?? request.kind ?? 'lww'
        const denied = record.value === null && !grant.canRemove ? forbidden(grant.mapName, 'REMOVE') : undefined
        const error =
          this.#refusalAt(level) ?? denied ?? this.#skew(record.timestamp) ?? recordKindFault(kind, key, record)
        if (error !== undefined) outcomes.push({ ok: false, error })
        else if (kind === 'or') outcomes.push(this.#mergeItem(map, key, record))
        else if (kind === 'pn') outcomes.push(this.#mergeRow(map, pushed, request.grant.userId))
        else outcomes.push(this.#merge(map, key, record))
      }
    }
    this.#userId = SERVER_USER
    this.#hasMissedNone = false
    return outcomes
  }

  /** Tells of every change from now on. There is one observer. */
  observe(observer: CommitObserver): void {
    this.#observer = observer
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
    if (record === undefined) return refusal
    const isThere = map.kind === 'pn' ? !isRaised(record, rowIn(op.record)) : isRepetition(record, op)
    return isThere ? undefined : refusal
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

  /** Merges an item of an OR-map. A tag that was removed stays removed, whatever the stamps. */
  #mergeItem(map: WritableMap, itemKey: string, incoming: LwwRecord): CommitOutcome {
    const entry = map.entriesByKey.get(itemKey)
    if (entry === undefined) return this.#create(map, itemKey, this.#stamped(incoming), 'or')
    const before = entry.record
    if (before.value !== null && incoming.value !== null && !valuesEqual(before.value, incoming.value)) {
      return { ok: false, error: wireError('ALREADY_EXISTS', 'The tag stands for another value of this key.') }
    }
    const fault = this.#apply(map, entry, mergeItems(before, incoming), incoming)
    if (fault !== undefined) return { ok: false, error: fault }
    const { record, seq } = entry
    const isRemoved = record.value === null
    const isRemoval = incoming.value === null
    const exact = isRemoval ? isRemoved : record === incoming
    return { ok: true, seq, entry, changed: record !== before, exact, superseded: isRemoved && !isRemoval }
  }

  /** A removal whose writer had no clock gets a stamp here. */
  #stamped(record: LwwRecord): LwwRecord {
    if (record.value !== null || compareStamps(record.timestamp, ZERO_STAMP) !== 0) return record
    return wholeWrite(null, this.#sequencer.stamp())
  }

  /** Raises a node's row of a counter. One that is not above what is known is a repetition. */
  #count(map: WritableMap, { key, record }: ReceivedOp, { grant, isClaim = true }: WriteRequest): CommitOutcome {
    const { value, timestamp, ttlMs } = record
    const incoming = { value, timestamp, base: timestamp, ...(ttlMs === undefined ? {} : { ttlMs }) }
    const fault = recordKindFault('pn', key, incoming)
    if (fault !== undefined) return { ok: false, error: fault }
    const entry = map.entriesByKey.get(key)
    if (entry !== undefined && !isRaised(entry.record, rowIn(record))) {
      return { ok: true, seq: entry.seq, entry, changed: false, exact: false, superseded: false }
    }
    const outcome = this.#mergeRow(map, { key, record: incoming }, grant.userId)
    if (outcome.ok && isClaim && this.#counters.ownerOf(key) === undefined) {
      this.#merge(this.#nodes, key, wholeWrite({ userId: grant.userId }, this.#sequencer.stamp()))
    }
    return outcome
  }

  #mergeRow(map: WritableMap, { key, record: { value, timestamp } }: PushedRecord, userId: string): CommitOutcome {
    const row = rowIn({ value })
    const entry = map.entriesByKey.get(key)
    const before = rowIn(entry?.record)
    if (entry !== undefined && !isRaised(entry.record, row)) {
      return this.#merge(map, key, counterRecord(row, timestamp))
    }
    const refusal = this.#counters.refusal(map, key, row, userId)
    if (refusal !== undefined) return { ok: false, error: refusal }
    const outcome = this.#merge(map, key, counterRecord(row, timestamp))
    if (outcome.ok) this.#counters.raised(map, before, rowIn(outcome.entry.record))
    return outcome
  }

  /** Whose the nodes of counters are. It is in memory whenever a counter is. */
  get #nodes(): WritableMap {
    const map = this.#residency.resident(COUNTER_NODES)
    if (map === undefined) throw new Error(`Map '${COUNTER_NODES}' is not in memory`)
    return map
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

  #create(map: WritableMap, key: string, incoming: LwwRecord, kind: MapKind = 'lww'): CommitOutcome {
    const { seq: prunedSeq, stamp: prunedThrough } = map.pruned
    const isOld = prunedSeq > 0 && compareStamps(incoming.timestamp, prunedThrough) <= 0
    if (isOld && !this.#hasMissedNone) return { ok: false, error: wireError('STALE', undefined, { prunedThrough }) }
    const oversize = recordFault(incoming, false)
    if (oversize !== undefined) return { ok: false, error: oversize }
    if (map.kind === undefined) this.#decide(map, kind)
    const entry = map.blank(key, incoming, incoming.timestamp)
    this.#advance(map, entry, incoming)
    return { ok: true, seq: entry.seq, entry, changed: true, exact: true, superseded: false }
  }

  /** A map's first write gives it its kind, which is stored with it. That of most is told by their having records. */
  #decide(map: WritableMap, kind: MapKind): void {
    map.kind = kind
    if (kind !== 'lww') this.#persister?.keep(kindValues(map.name, kind))
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
    // Without a seq it is not in the map yet.
    const before = entry.seq === 0 ? undefined : entry.record
    entry.version = this.#sequencer.nextVersion(entry.version)
    map.advance(entry, record, this.#sequencer.nextSeq(), this.#sequencer.stamp())
    this.#persister?.add(entry)
    if (record.ttlMs !== undefined) this.#onTtl(entry)
    this.#observer?.(entry, before, this.#userId)
    this.#onChange(map)
  }
}

/** A row of a counter is above what is known of it in some count. */
function isRaised(known: LwwRecord, row: CounterRow): boolean {
  const before = rowIn(known)
  return mergeCounterRows(before, row) !== before
}
