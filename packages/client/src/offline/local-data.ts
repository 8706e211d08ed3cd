import type { LwwRecord } from '@syncline/core'
import type { ClientEnv } from '../env.ts'
import { SynclineError } from '../errors.ts'
import type { Turn } from '../readable.ts'
import { SessionClock } from '../session/clock.ts'
import type { Adoption } from '../session/adoption.ts'
import { claimIdentity, forgetIdentity, lockName, type Identity } from '../session/identity.ts'
import { memory } from '../storage/memory.ts'
import type { OpenStorage, StorageAdapter } from '../storage/storage.ts'
import { StorageWriter, heldFor, type StoredData } from '../storage/writer.ts'
import { Op, Overlay, type OpRow } from './overlay.ts'
import { Replica } from './replica.ts'
import type { LocalWrite } from './write.ts'

/** What local data tells its client. */
export interface LocalDataHost {
  readonly env: ClientEnv
  readonly turn: Turn
  /** An op is confirmed where base has this record, which may be another writer's. */
  readonly replaced: (op: Op, record: LwwRecord | undefined) => void
  /** An op has its place: it was written, or came from storage, its own tab's before a reload or another's that is gone. */
  opPlaced(op: Op): void
  opForgotten(op: Op): void
  /** What belongs to the former user is out of sight, and aside, as these writes are. Nobody had signed in: undefined. */
  userChanged(aside: readonly Op[], former: string | undefined): void
  /** A map is used for the first time. */
  mapUsed(replica: Replica): void
  /** Another tab has begun a map anew. */
  mapBegunAnew(replica: Replica): void
  /** Stamps may have become sendable, or what is stored has changed. */
  stored(): void
  report(error: SynclineError): void
}

/** An op of a tab, with what the mark of that tab says of it: it was reserved, and so it may have been sent. */
function withMark(row: OpRow, nodeId: string, reservedMs: number): OpRow {
  const isMarked = row.stamp.nodeId === nodeId && row.stamp.millis < reservedMs
  return isMarked ? { ...row, wasSent: true } : row
}

/** Everything that this client holds: base and overlay of all maps, in memory and in storage. */
export class LocalData {
  readonly overlay = new Overlay()
  readonly clock: SessionClock
  readonly writer: StorageWriter
  /** The maps that are used; others only lie in storage. */
  readonly used = new Map<string, Replica>()
  isReady = false
  readonly env: ClientEnv
  readonly turn: Turn
  /** An op is confirmed where base has this record, which may be another writer's. */
  readonly replaced: LocalDataHost['replaced']
  readonly #host: LocalDataHost
  readonly #adapter: StorageAdapter
  readonly #replicas = new Map<string, Replica>()
  readonly #ownNodes = new Set<string>()
  /** Of writes that are aside what the application holds, for when their user is back. */
  readonly #aside = new Map<string, LocalWrite>()
  #adoption: Adoption | undefined
  #identity: Identity | undefined
  #release = (): void => {}
  #storage: { readonly id: string; readonly open: OpenStorage } | undefined
  #isClosed = false
  /** Whose data this is: who signed in last, on this device until this client hears of it. */
  #user: string | undefined

  constructor(host: LocalDataHost, adapter: StorageAdapter) {
    this.#host = host
    this.#adapter = adapter
    const { env, turn, replaced } = host
    this.env = env
    this.turn = turn
    this.replaced = replaced
    this.clock = new SessionClock(env, env.uniqueId(), (untilMs) => this.writer.reserve(untilMs))
    this.clock.onSet = () => {
      for (const replica of this.used.values()) replica.clockChanged()
    }
    const isAnew = (mapName: string): boolean => this.held(mapName).base.former !== undefined
    this.writer = new StorageWriter({
      env,
      turn,
      row: (mapName, key) => this.held(mapName).base.rows.get(key),
      position: (mapName) => this.held(mapName).base.position(),
      isPaging: (mapName) => this.held(mapName).link === 'paging' || isAnew(mapName),
      isAnew,
      op: (id) => this.overlay.ops.get(id)?.toRow(),
      opStored: (row) => this.#opStored(row),
      stored: (reservedMs) => {
        if (reservedMs !== undefined) this.clock.reserved(reservedMs)
        host.stored()
      },
      begunAnew: (mapName, epoch) => {
        const replica = this.held(mapName)
        // Pages that are on their way would be taken for those of the new beginning: it is told again when they are here,
        // and of a map that is not used when it is.
        const isAsking = replica.link === 'asked' || replica.link === 'paging'
        if (replica.base.epoch >= epoch || isAsking || !this.used.has(mapName)) return
        replica.base.epoch = epoch - 1
        host.mapBegunAnew(replica)
      },
      onFault: (error) => this.#storageFault(error),
    })
  }

  /** Whose data this is, if that is known. */
  get user(): string | undefined {
    return this.#user
  }

  /** What is stored beside data, and under which name. Undefined before the data is loaded. */
  get storage(): { readonly id: string; readonly open: OpenStorage } | undefined {
    return this.#storage
  }

  /** Ops that would be lost with this page. */
  get unstored(): number {
    const { ops } = this.overlay
    return this.isReady ? Array.from(this.writer.unstored).filter((id) => ops.has(id)).length : ops.size
  }

  /** A map's replica, used from now on. */
  replica(mapName: string): Replica {
    let replica = this.used.get(mapName)
    if (replica === undefined) {
      replica = this.held(mapName)
      this.used.set(mapName, replica)
      this.#host.mapUsed(replica)
    }
    return replica
  }

  /** Puts an op over base. Before the data is loaded it waits for its stamp. */
  add(op: Op): void {
    op.user = this.#user
    this.overlay.add(op)
    if (op.row.tag !== undefined) this.held(op.row.mapName).kind = 'or'
    this.replica(op.row.mapName).touch(op.row.key, false, op)
    if (!this.isReady) return
    this.writer.markOp(op.row.id)
    this.#host.opPlaced(op)
  }

  /** Takes an op away. Says whether it was there. */
  forget(op: Op): boolean {
    if (!this.overlay.remove(op)) return false
    this.writer.markOp(op.row.id)
    this.held(op.row.mapName).uncovered(op.row.key)
    this.#host.opForgotten(op)
    return true
  }

  /** Loads what is stored. Never fails: without its storage the client goes on in memory. */
  async load(): Promise<void> {
    const { env } = this
    const { id } = this.#adapter
    const fresh: Identity = { nodeId: env.uniqueId(), left: [], release() {} }
    let identity = fresh
    let storage: OpenStorage
    let stored: StoredData = { owner: undefined, cursors: [], rows: [], ops: [], reservedMs: 0 }
    try {
      storage = await this.#adapter.open()
      identity = await claimIdentity(env, id, storage)
      stored = await this.writer.load(storage, identity.nodeId)
    } catch (cause) {
      // What stamps this tab has issued is not known: it is another node.
      identity.release()
      identity = fresh
      storage = await memory().open()
      const message = 'The storage cannot be opened; nothing is kept beyond this page.'
      this.#host.report(new SynclineError('STORAGE_UNAVAILABLE', message, { cause }))
    }
    this.#release = identity.release
    this.#storage = { id, open: storage }
    this.#place(identity.nodeId, stored)
    this.writer.start(storage, identity.nodeId)
    this.#identity = identity
  }

  /** Begins to look for the ops of tabs that are gone. Nobody waits for that: its code is loaded in the background. */
  adopt(code: typeof Adoption): void {
    const identity = this.#identity
    const storage = this.#storage
    if (identity === undefined || storage === undefined || this.#adoption !== undefined || this.#isClosed) return
    this.#adoption = new code(this.env, identity, storage.open, {
      lockName: (nodeId) => lockName(storage.id, nodeId),
      heldFor,
      withMark,
      user: () => this.#user,
      stored: () => this.writer.stored(),
      adopted: (rows) => this.#adopted(rows),
    })
    void this.#adoption.start()
  }

  /**
   * The server has said whose session begins, or nobody is signed in any more. What is here of another user is neither
   * shown nor sent any more: base is emptied, and ops are put aside for when that user is back.
   */
  identify(user: string | undefined): void {
    if (user === this.#user) return
    const former = this.#user
    this.#user = user
    for (const replica of this.#replicas.values()) replica.reset()
    this.writer.claim(user)
    const others: Op[] = []
    for (const op of this.overlay.ops.values()) {
      if (op.user === undefined) {
        op.user = user
        this.writer.markOp(op.row.id)
      } else {
        others.push(op)
        if (op.write !== undefined) this.#aside.set(op.row.id, op.write)
        this.overlay.remove(op)
        this.held(op.row.mapName).touch(op.row.key)
      }
    }
    this.writer.hold(others.map((op) => op.toRow()))
    this.#host.userChanged(others, former)
    this.#adoption?.userChanged()
  }

  /** A write is another user's: it is neither sent nor undone in this one's name. */
  isOthers({ user }: Op): boolean {
    return user !== undefined && user !== this.#user
  }

  /** Stamps of this node are this client's own. */
  isOwn(nodeId: string): boolean {
    return this.#ownNodes.has(nodeId)
  }

  /** Stores the rest and lets go of everything. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#adoption?.stop()
    for (const replica of this.#replicas.values()) replica.close()
    await this.writer.close()
    this.#release()
  }

  /** A map's replica, used or not. */
  held(mapName: string): Replica {
    let replica = this.#replicas.get(mapName)
    if (replica === undefined) {
      replica = new Replica(mapName, this)
      this.#replicas.set(mapName, replica)
    }
    return replica
  }

  /** Puts what was stored under what was written meanwhile, which is stamped only now. */
  #place(nodeId: string, { owner, cursors, rows, ops, reservedMs }: StoredData): void {
    const early = [...this.overlay.ops.values()]
    for (const op of early) this.overlay.remove(op)
    this.#user = owner?.user
    this.#ownNodes.add(nodeId)
    for (const [[mapName], row] of cursors) this.held(mapName).base.restore(row)
    this.clock.start(nodeId, reservedMs)
    for (const [, { record }] of rows) this.clock.received(record.timestamp)
    for (const [[mapName, key], row] of rows) this.held(mapName).load(key, row)
    this.isReady = true
    this.#addRows(ops.map((row) => withMark(row, nodeId, reservedMs)))
    for (const op of early) {
      op.stamp = this.clock.tick()
      op.inBase = this.held(op.row.mapName).isInBase(op.row.key)
      this.add(op)
    }
  }

  /** Places ops from storage; those of another user are put aside. */
  #addRows(rows: readonly OpRow[]): void {
    const isOwn = ({ user }: OpRow): boolean => user === undefined || user === this.#user
    this.writer.hold(rows.filter((row) => !isOwn(row)))
    const own = rows.filter((row) => isOwn(row) && !this.overlay.ops.has(row.id))
    for (const row of own) {
      const op = new Op(row)
      this.#aside.get(row.id)?.attach(op)
      this.#aside.delete(row.id)
      if (op.user !== this.#user) {
        op.user = this.#user
        this.writer.markOp(row.id)
      }
      this.#ownNodes.add(op.stamp.nodeId)
      this.clock.seen(op.stamp)
      if (op.row.tag !== undefined) this.held(op.row.mapName).kind = 'or'
      this.overlay.add(op)
      this.#opStored(row)
      this.#host.opPlaced(op)
    }
    this.overlay.sort()
    for (const { mapName, key } of own) this.replica(mapName).touch(key)
  }

  #opStored(row: OpRow): void {
    const op = this.overlay.ops.get(row.id)
    if (op !== undefined) op.stored = row
  }

  #adopted(rows: readonly OpRow[]): void {
    this.#addRows(rows)
    this.#host.stored()
  }

  #storageFault(error: SynclineError | undefined): void {
    if (error !== undefined) {
      // Stamps leave this tab that are not reserved, and so it comes back as another.
      forgetIdentity(this.env, this.#adapter.id)
      this.#host.report(error)
    }
    this.#host.stored()
  }
}
