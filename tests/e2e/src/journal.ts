import { closeSync, openSync, writeSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { compareStamps, formatStamp, type LwwRecord, type Stamp, type Value } from '@syncline/core'
import type { ClientOp, OpResult } from '@syncline/protocol'

/** A write that was sent, in the order of its line: what one connection sent. */
export interface SentOp {
  readonly id: string
  readonly mapName: string
  readonly key: string
  readonly type: 'PUT' | 'PATCH' | 'REMOVE'
  readonly stamp: Stamp
  readonly level: 'MEMORY' | 'PERSISTED'
  /** The whole value of a PUT, or the fields that a PATCH sets. */
  readonly set: Readonly<Record<string, Value>>
  readonly unset: readonly string[]
  readonly line: string
}

/** A record as a reader got it from the server. */
export interface HeldRecord {
  readonly record: LwwRecord
  readonly seq: number
}

/** What a reader got: records by map and key. */
export type Copy = ReadonlyMap<string, ReadonlyMap<string, HeldRecord>>

/** The least that a record must hold: the stamps of its latest whole write and of the latest write of each field. */
interface Floor {
  base: { stamp: Stamp; because: string } | undefined
  readonly fields: Map<string, { stamp: Stamp; because: string }>
}

/**
 * What clients sent and what the server promised them, kept where the server's death cannot reach it: in this process
 * and in a file. `audit` says what of it a copy of the server's data breaks; it knows nothing of how servers merge.
 */
export class Journal implements Disposable {
  readonly path: string
  /** What was broken outside audits: a seq or a version given twice, a refusal that nobody may get. */
  readonly problems: string[] = []
  /** Whether refusals are to be expected: the server was asked to stop. */
  isStopping = false
  acknowledgedCount = 0
  greatestSeq = 0
  greatestPersistedSeq = 0
  readonly #file: number
  readonly #floors = new Map<string, Floor>()
  readonly #knownKeys = new Map<string, string[]>()
  readonly #sentByTarget = new Map<string, Map<string, SentOp>>()
  readonly #sentById = new Map<string, SentOp>()
  readonly #lines = new Map<string, SentOp[]>()
  readonly #versionByTarget = new Map<string, { seq: number; version: number }>()
  #inMemory: SentOp[] = []
  #seqBefore = 0

  constructor(path: string) {
    this.path = path
    this.#file = openSync(path, 'a')
  }

  [Symbol.dispose](): void {
    closeSync(this.#file)
  }

  /** Keys that the server has promised to hold a record of. */
  knownKeys(mapName: string): readonly string[] {
    return this.#knownKeys.get(mapName) ?? []
  }

  /** A run of the server begins: what it hands out must be above everything that was seen before. */
  begin(): void {
    this.#seqBefore = this.greatestSeq
    this.isStopping = false
    this.#lines.clear()
    this.#inMemory = []
    this.#sentById.clear()
    this.#note({ run: true, seqBefore: this.#seqBefore })
  }

  /** An op is about to be sent. */
  sending(op: SentOp): void {
    const target = `${op.mapName}/${op.key}`
    entryOf(this.#sentByTarget, target, () => new Map()).set(formatStamp(op.stamp), op)
    entryOf(this.#lines, op.line, () => []).push(op)
    this.#sentById.set(op.id, op)
  }

  /** The server answered an op. */
  answered(result: OpResult): void {
    const op = this.#sentById.get(result.opId)
    if (op === undefined) {
      this.problems.push(`An answer to ${result.opId}, which was not asked in this run`)
      return
    }
    this.#note({ op: op.id, at: `${op.mapName}/${op.key}`, stamp: formatStamp(op.stamp), ...result })
    if (!result.success) {
      // Refused for good or unknown: either way nothing is promised, and it must not count in the order of its line.
      const line = this.#lines.get(op.line)
      line?.splice(line.indexOf(op), 1)
      if (!this.isStopping) this.problems.push(`${op.type} ${op.id} was refused: ${result.errorCode} ${result.error}`)
      return
    }
    this.acknowledgedCount++
    if (result.achievedLevel !== op.level) this.problems.push(`${op.id} asked ${op.level}, got ${result.achievedLevel}`)
    const { seq = 0 } = result
    this.greatestSeq = Math.max(this.greatestSeq, seq)
    if (result.superseded !== true && seq <= this.#seqBefore) {
      this.problems.push(`${op.id} got seq ${seq}, and up to ${this.#seqBefore} had been given out before the crash`)
    }
    if (op.level === 'MEMORY') {
      this.#inMemory.push(op)
      return
    }
    this.greatestPersistedSeq = Math.max(this.greatestPersistedSeq, seq)
    this.#promise(op)
  }

  /** A reader was shown a version of a record: the same one never stands for two commits, and greater ones come later. */
  shown(mapName: string, key: string, seq: number, version: number): void {
    this.greatestSeq = Math.max(this.greatestSeq, seq)
    const target = `${mapName}/${key}`
    const known = this.#versionByTarget.get(target)
    if (known !== undefined && Math.sign(seq - known.seq) !== Math.sign(version - known.version)) {
      this.problems.push(
        `${target} has version ${version} at seq ${seq}, and had version ${known.version} at seq ${known.seq}`,
      )
    }
    if (known === undefined || seq > known.seq) this.#versionByTarget.set(target, { seq, version })
  }

  /** What of the promises a copy breaks, taken from a server that has just started on what the last run left. */
  audit(copy: Copy): string[] {
    const broken: string[] = []
    for (const [target, floor] of this.#floors) broken.push(...missingIn(find(copy, target), floor, target))
    broken.push(...this.#holes(copy), ...this.#inventions(copy))
    this.#keep(copy)
    return broken
  }

  /** What of one copy is missing in another: what a follower held must come back through it. */
  missing(held: Copy, copy: Copy): string[] {
    return eachRecord(held).flatMap(([target, { record }]) =>
      missingIn(find(copy, target), floorOf(record, 'a follower holds it'), target),
    )
  }

  /** Acknowledged MEMORY writes of the last run that a copy lacks. */
  lostMemoryWrites(copy: Copy): SentOp[] {
    return this.#inMemory.filter((op) => !isCovered(recordOf(copy, op), op))
  }

  #promise(op: SentOp): void {
    const floor = this.#floorAt(`${op.mapName}/${op.key}`)
    const because = `${op.type} ${op.id}, acknowledged PERSISTED`
    if (op.type !== 'PATCH') raise(floor, undefined, op.stamp, because)
    else for (const field of [...Object.keys(op.set), ...op.unset]) raise(floor, field, op.stamp, because)
  }

  /** What was read after a start is on disk, acknowledged or not: it stays. Writes that it hides need no memory. */
  #keep(copy: Copy): void {
    for (const [target, { record }] of eachRecord(copy)) {
      const floor = this.#floorAt(target)
      const because = 'it was there after an earlier start'
      raise(floor, undefined, record.base, because)
      for (const [field, { stamp }] of Object.entries(record.fields ?? {})) raise(floor, field, stamp, because)
      const sent = this.#sentByTarget.get(target)
      for (const [text, { stamp }] of sent ?? []) if (compareStamps(stamp, record.base) < 0) sent?.delete(text)
    }
  }

  #floorAt(target: string): Floor {
    return entryOf(this.#floors, target, () => {
      const [mapName = '', key = ''] = target.split('/')
      entryOf(this.#knownKeys, mapName, () => []).push(key)
      return newFloor()
    })
  }

  /** A connection's ops are applied in order: if a later one is there, so are all before it. */
  #holes(copy: Copy): string[] {
    const broken: string[] = []
    for (const [line, ops] of this.#lines) {
      const last = ops.findLastIndex((op) => isVisible(recordOf(copy, op), op))
      for (const op of ops.slice(0, Math.max(0, last))) {
        if (isCovered(recordOf(copy, op), op)) continue
        broken.push(`Hole: ${op.type} ${op.id} of line ${line} is missing, and ${ops[last]?.id} after it is there`)
      }
    }
    return broken
  }

  /** Every record is made of writes that were sent, each of them whole. */
  #inventions(copy: Copy): string[] {
    return eachRecord(copy).flatMap(([target, { record }]) => {
      const sent = this.#sentByTarget.get(target) ?? new Map<string, SentOp>()
      const whole = sent.get(formatStamp(record.base))
      if (whole === undefined || whole.type === 'PATCH') {
        return [`Invented: ${target} has a base of ${formatStamp(record.base)}, which nobody wrote`]
      }
      const broken: string[] = []
      const expected: Record<string, Value> | null = whole.type === 'PUT' ? { ...whole.set } : null
      for (const [field, state] of Object.entries(record.fields ?? {})) {
        const patch = sent.get(formatStamp(state.stamp))
        if (patch === undefined || patch.type !== 'PATCH' || !(field in patch.set || patch.unset.includes(field))) {
          broken.push(`Invented: ${target} has ${field} of ${formatStamp(state.stamp)}, which nobody wrote`)
          continue
        }
        if (!isCovered(record, patch)) broken.push(`Torn: ${target} holds ${field} of ${patch.id} and not the rest`)
        if (expected === null) {
          if (!isDeepStrictEqual(state.value, patch.set[field])) broken.push(`Torn: the hidden ${field} of ${target}`)
        } else if (field in patch.set) expected[field] = patch.set[field] as Value
        else delete expected[field]
      }
      if (!isDeepStrictEqual(plain(record.value), expected)) {
        broken.push(`Torn: ${target} is ${short(record.value)}, and its writes make ${short(expected)}`)
      }
      return broken
    })
  }

  #note(entry: object): void {
    writeSync(this.#file, `${JSON.stringify(entry)}\n`)
  }
}

/** The op as it goes over the wire. */
export function toClientOp({ id, mapName, key, type, stamp, level, set, unset }: SentOp): ClientOp {
  const record = { value: type === 'REMOVE' ? null : set, timestamp: stamp, ...(unset.length > 0 ? { unset } : {}) }
  return { id, mapName, key, opType: type, record, writeConcern: level }
}

function missingIn(record: LwwRecord | undefined, floor: Floor, target: string): string[] {
  const wanted: [string, { stamp: Stamp; because: string }][] = [...floor.fields]
  if (floor.base !== undefined) wanted.push(['', floor.base])
  return wanted.flatMap(([field, { stamp, because }]) => {
    const has = record === undefined ? undefined : stampOf(record, field)
    if (has !== undefined && compareStamps(has, stamp) >= 0) return []
    const where = field === '' ? target : `${field} of ${target}`
    const instead = has === undefined ? 'there is no such record' : `it is of ${formatStamp(has)}`
    return [`Lost: ${where} of ${formatStamp(stamp)} (${because}): ${instead}`]
  })
}

function floorOf({ base, fields }: LwwRecord, because: string): Floor {
  const floor = newFloor()
  raise(floor, undefined, base, because)
  for (const [field, { stamp }] of Object.entries(fields ?? {})) raise(floor, field, stamp, because)
  return floor
}

function newFloor(): Floor {
  return { base: undefined, fields: new Map() }
}

function raise(floor: Floor, field: string | undefined, stamp: Stamp, because: string): void {
  const before = field === undefined ? floor.base : floor.fields.get(field)
  if (before !== undefined && compareStamps(before.stamp, stamp) >= 0) return
  if (field === undefined) floor.base = { stamp, because }
  else floor.fields.set(field, { stamp, because })
}

/** The stamp of the latest write that decided a field, or for '' the whole. */
function stampOf({ base, fields }: LwwRecord, field: string): Stamp {
  const own = field === '' ? undefined : fields?.[field]?.stamp
  return own !== undefined && compareStamps(own, base) > 0 ? own : base
}

function stampsOf(op: SentOp): string[] {
  return op.type === 'PATCH' ? [...Object.keys(op.set), ...op.unset] : ['']
}

/** The write, or a later one in its place, is in the record. */
function isCovered(record: LwwRecord | undefined, op: SentOp): boolean {
  return record !== undefined && stampsOf(op).every((field) => compareStamps(stampOf(record, field), op.stamp) >= 0)
}

/** The write itself is in the record. */
function isVisible(record: LwwRecord | undefined, op: SentOp): boolean {
  return record !== undefined && stampsOf(op).some((field) => compareStamps(stampOf(record, field), op.stamp) === 0)
}

function recordOf(copy: Copy, { mapName, key }: SentOp): LwwRecord | undefined {
  return copy.get(mapName)?.get(key)?.record
}

function find(copy: Copy, target: string): LwwRecord | undefined {
  const [mapName = '', key = ''] = target.split('/')
  return copy.get(mapName)?.get(key)?.record
}

function eachRecord(copy: Copy): [target: string, held: HeldRecord][] {
  return [...copy].flatMap(([mapName, rows]) =>
    [...rows].map(([key, held]): [string, HeldRecord] => [`${mapName}/${key}`, held]),
  )
}

function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let entry = map.get(key)
  if (entry === undefined) map.set(key, (entry = make()))
  return entry
}

/** Decoders make maps without a prototype. */
function plain(value: Value): Value {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? { ...(value as Record<string, Value>) }
    : value
}

function short(value: unknown): string {
  return JSON.stringify(value).slice(0, 200)
}
