import { createHmac } from 'node:crypto'
import { formatStamp, type Env, type Stamp, type Value } from '@syncline/core'
import type { ClientMessage, ClientOp, ItemOp, ItemOpMessage, WriteConcern } from '@syncline/protocol'
import type { StorageAdapter, StorageError, WriteBatch, WriteResult } from '@syncline/storage'
import { nodeEnv } from '../env.ts'

/** A secret that production accepts. */
export const SECRET = 'f5b0c2d4e6a8917364f5b0c2d4e6a891'

/** A JSON Web Token with any claims, header and key, well or badly made. */
export function makeToken(
  claims: Readonly<Record<string, unknown>>,
  {
    secret = SECRET,
    header = { alg: 'HS256', typ: 'JWT' },
  }: { readonly secret?: string; readonly header?: Readonly<Record<string, unknown>> } = {},
): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part(header)}.${part(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

/** A token of a user with roles. */
export function tokenOf(userId: string, ...roles: readonly string[]): string {
  return makeToken(roles.length === 0 ? { sub: userId } : { sub: userId, roles })
}

let ticks = 0

/** A stamp in the recent past, later than all before it, unless the time is given. */
export function stampAt(millis?: number, counter: number = 0, nodeId: string = 'tester'): Stamp {
  if (millis !== undefined) return { millis, counter, nodeId }
  ticks++
  return { millis: START_MS + Math.floor(ticks / 100), counter: ticks % 100, nodeId }
}

const START_MS = Date.now() - 1_000_000

/** What an op may say beside its kind, map and key. */
export interface OpOptions {
  readonly id?: string
  readonly stamp?: Stamp
  readonly writeConcern?: WriteConcern
  readonly timeout?: number
  readonly ttlMs?: number
  readonly unset?: readonly string[]
  readonly fence?: { readonly name: string; readonly token: number }
}

function op(
  opType: 'PUT' | 'REMOVE' | 'PATCH',
  mapName: string,
  key: string,
  value: Value,
  { stamp = stampAt(), ttlMs, unset, ...rest }: OpOptions,
): ClientOp {
  const record = {
    value,
    timestamp: stamp,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(unset === undefined ? {} : { unset }),
  }
  return { ...rest, opType, mapName, key, record }
}

/** A write of a whole record. */
export function put(mapName: string, key: string, value: Value, options: OpOptions = {}): ClientOp {
  return op('PUT', mapName, key, value, options)
}

/** A write of some fields. */
export function patch(mapName: string, key: string, value: Value, options: OpOptions = {}): ClientOp {
  return op('PATCH', mapName, key, value, options)
}

/** A removal. */
export function remove(mapName: string, key: string, options: OpOptions = {}): ClientOp {
  return op('REMOVE', mapName, key, null, options)
}

/** An add to an OR-map. Its tag is the text of its stamp, unless it is given. */
export function add(
  mapName: string,
  key: string,
  value: Value,
  {
    stamp = stampAt(),
    tag = formatStamp(stamp),
    ttlMs,
    ...rest
  }: Omit<OpOptions, 'unset'> & { readonly tag?: string } = {},
): ItemOp {
  const orRecord = { value, timestamp: stamp, tag, ...(ttlMs === undefined ? {} : { ttlMs }) }
  return { ...rest, opType: 'OR_ADD', mapName, key, orRecord }
}

/** The removal of what was added under a tag. */
export function removeItem(
  mapName: string,
  key: string,
  orTag: string,
  { stamp, ...rest }: Pick<OpOptions, 'id' | 'stamp' | 'writeConcern'> = {},
): ItemOp {
  return { ...rest, opType: 'OR_REMOVE', mapName, key, orTag, ...(stamp === undefined ? {} : { timestamp: stamp }) }
}

/** The row of a node in a counter. */
export function count(name: string, nodeId: string, p: number, n: number = 0, options: OpOptions = {}): ClientOp {
  return put(`counter:${name}`, nodeId, { p, n }, options)
}

/** The message that carries one op. */
export function clientOp(payload: ClientOp): ClientMessage
export function clientOp(payload: ClientOp | ItemOp): ItemOpMessage
export function clientOp(payload: ClientOp | ItemOp): unknown {
  return { type: 'CLIENT_OP', payload }
}

/** The message that carries several. */
export function opBatch(
  ops: readonly ClientOp[],
  rest?: { readonly writeConcern?: WriteConcern; readonly timeout?: number },
): ClientMessage
export function opBatch(
  ops: readonly (ClientOp | ItemOp)[],
  rest?: { readonly writeConcern?: WriteConcern; readonly timeout?: number },
): ItemOpMessage
export function opBatch(
  ops: readonly (ClientOp | ItemOp)[],
  rest: { readonly writeConcern?: WriteConcern; readonly timeout?: number } = {},
): unknown {
  return { type: 'OP_BATCH', payload: { ops, ...rest } }
}

/** The real environment, whose clocks a test can move on. Timers that became due fire at once. */
export class MovableEnv implements Env {
  readonly log: Env['log']
  readonly lines: string[] = []
  readonly #real: Env
  readonly #timers = new Set<{ readonly dueMs: number; readonly fire: () => void }>()
  #offsetMs = 0
  #wallMs = 0

  constructor() {
    this.#real = nodeEnv('debug', (line) => this.lines.push(line))
    this.log = (...line) => this.#real.log(...line)
  }

  now(): number {
    return this.#real.now() + this.#offsetMs + this.#wallMs
  }

  monotonic(): number {
    return this.#real.monotonic() + Math.max(0, this.#offsetMs)
  }

  after(delayMs: number, run: () => void): () => void {
    const fire = (): void => {
      if (!this.#timers.delete(timer)) return
      cancel()
      run()
    }
    const timer = { dueMs: this.monotonic() + delayMs, fire }
    const cancel = this.#real.after(delayMs, fire)
    this.#timers.add(timer)
    return () => {
      this.#timers.delete(timer)
      cancel()
    }
  }

  endOfTurn(run: () => void): void {
    this.#real.endOfTurn(run)
  }

  random(): number {
    return this.#real.random()
  }

  uniqueId(): string {
    return this.#real.uniqueId()
  }

  /** Timers that are set, and whose time has not come. */
  get waitingTimers(): number {
    return this.#timers.size
  }

  /** Moves both clocks on, and no timer has noticed yet. */
  leap(ms: number): void {
    this.#offsetMs += ms
  }

  /** Moves the wall clock on, as if all had slept: no timer notices it. */
  sleep(ms: number): void {
    this.#wallMs += ms
  }

  /** Moves both clocks on. */
  advance(ms: number): void {
    this.leap(ms)
    const due = [...this.#timers].filter((timer) => timer.dueMs <= this.monotonic())
    for (const timer of due.toSorted((a, b) => a.dueMs - b.dueMs)) timer.fire()
  }
}

/** One whose clocks stand still until a test moves them on, however long that takes. */
export class StillEnv extends MovableEnv {
  #ms = 0

  override now(): number {
    return this.#ms
  }

  override monotonic(): number {
    return this.#ms
  }

  override leap(ms: number): void {
    this.#ms += ms
  }
}

/** A storage whose writes a test holds back or makes fail. Everything else goes through. */
export class GatedStorage implements StorageAdapter {
  readonly name: string
  readonly durable: boolean
  /** Batches that reached the storage, held ones included. */
  readonly batches: WriteBatch[] = []
  /** Makes the next writes fail with what it returns. */
  fault: (() => Error) | undefined
  /** Tells whoever opened the storage that it has failed for good. */
  onFatal: ((error: StorageError) => void) | undefined
  readonly #inner: StorageAdapter
  #held: (() => void)[] | undefined

  constructor(inner: StorageAdapter, durable: boolean = inner.durable) {
    this.#inner = inner
    this.name = inner.name
    this.durable = durable
  }

  /** Writes wait from now on, until `release`. */
  hold(): void {
    this.#held = []
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const go of held) go()
  }

  get heldCount(): number {
    return this.#held?.length ?? 0
  }

  async write(batch: WriteBatch): Promise<WriteResult> {
    this.batches.push(batch)
    if (this.#held !== undefined) await new Promise<void>((resolve) => this.#held?.push(resolve))
    if (this.fault !== undefined) throw this.fault()
    return this.#inner.write(batch)
  }

  open(newDatabaseId: string, onFatal?: (error: StorageError) => void): ReturnType<StorageAdapter['open']> {
    this.onFatal = onFatal
    return this.#inner.open(newDatabaseId, onFatal)
  }

  load(mapName: string): ReturnType<StorageAdapter['load']> {
    return this.#inner.load(mapName)
  }

  changesSince(mapName: string, seq: number, limit: number): ReturnType<StorageAdapter['changesSince']> {
    return this.#inner.changesSince(mapName, seq, limit)
  }

  get(key: string): ReturnType<StorageAdapter['get']> {
    return this.#inner.get(key)
  }

  list(prefix: string): ReturnType<StorageAdapter['list']> {
    return this.#inner.list(prefix)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}

/** Waits for a condition, within a bound. */
export async function until(condition: () => boolean, what: string, timeoutMs: number = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Nothing within ${timeoutMs} ms while waiting for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A clock on which each look at the time takes a while: a slice is a few steps, whatever the machine. */
export function slowEnv(msPerLook = 0.25): Env {
  let ms = 0
  return { ...nodeEnv('error', () => {}), monotonic: () => (ms += msPerLook) }
}
