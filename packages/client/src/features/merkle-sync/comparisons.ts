import { mergeRecords } from '@syncline/core'
import type { ClientMessage, ReceivedRecord, SyncLeavesResp, SyncRecords, SyncTrieResp } from '@syncline/protocol/codec'
import type { Kernel } from '../../feature.ts'
import { isLost, withoutVersion, type BaseRow, type CursorRow, type LostRanges } from '../../offline/base.ts'
import type { Replica } from '../../offline/replica.ts'
import { Backoff } from '../../session/backoff.ts'
import { retryAfterOf } from '../../session/retry-after.ts'
import { OWNER, type OwnerRow } from '../../storage/writer.ts'
import type { Pushes } from './pushes.ts'
import { BaseDigests } from './state.ts'

/** Keys in one SYNC_FETCH. */
const FETCH_KEYS = 5_000
/** Records that are digested in one turn, so that a large map does not keep the page from answering. */
const SLICE_RECORDS = 2_000

/** One comparison of a base with the server's map. */
interface Walk {
  /** That of the base which is compared. */
  readonly epoch: number
  readonly leaves: number[]
  /** Our keys in those leaves that the server has not named yet. */
  readonly ours: Set<string>
  readonly differing: string[]
}

/** Compares maps with the server's by their digests, and brings what differs over both ways. */
export class Comparisons {
  readonly #kernel: Kernel
  readonly #pushes: Pushes
  readonly #backoff: Backoff
  readonly #digests = new WeakMap<Replica, BaseDigests>()
  readonly #walks = new Map<Replica, Walk>()
  /** Maps whose digest is to be asked for, because that of the last page is none to compare with. */
  readonly #due = new Set<Replica>()

  constructor(kernel: Kernel, pushes: Pushes) {
    this.#kernel = kernel
    this.#pushes = pushes
    this.#backoff = new Backoff(kernel.env)
    pushes.onNext = this.#askDue
  }

  /** Compares a replica with the digest that the server's map had at a position. */
  start(replica: Replica, digest: string, seq: number): void {
    const { epoch } = replica.base
    const walk: Walk = { epoch, leaves: [], ours: new Set(), differing: [] }
    this.#walks.set(replica, walk)
    const compare = (): void => {
      if (this.#walks.get(replica) !== walk || replica.link !== 'live') return
      const digests = this.#digestsOf(replica)
      if (!digests.refresh(SLICE_RECORDS)) this.#kernel.env.after(0, compare)
      // What is to be pushed first differs, and where base has moved on meanwhile its digest is that of a later position.
      else if (replica.unpushed.size > 0 || replica.base.seq !== seq) this.#startAgain(replica)
      else if (digests.root() === digest) this.#walks.delete(replica)
      else this.#ask(replica, { type: 'SYNC_TRIE', payload: { mapName: replica.name } })
    }
    compare()
  }

  #startAgain(replica: Replica): void {
    this.#walks.delete(replica)
    this.#due.add(replica)
    this.#askDue()
  }

  /** Asks for what has changed since: the digest comes with it. */
  readonly #askDue = (): void => {
    if (this.#backoff.isPaused) return
    for (const replica of this.#due) {
      const { name: mapName, kind, base, link, unpushed } = replica
      if (unpushed.size > 0) continue
      this.#due.delete(replica)
      // Where it is not followed at present, that comes when it is.
      if (link === 'live')
        replica.asked = this.#ask(replica, { type: 'SYNC_INIT', mapName, cursor: base.cursor, ...(kind && { kind }) })
    }
  }

  /**
   * The server has lost some positions. What another tab of this device has stored of them, and this one was never sent,
   * nobody else may have any more once that tab is gone.
   */
  bringStored(replica: Replica, lost: LostRanges, isOver: () => boolean): void {
    if (isOver()) return
    const { base, name } = replica
    const { storage, user } = this.#kernel.data
    const read = storage?.open.transaction('readonly', async (tx) => {
      const [owner, position] = await Promise.all([tx.get('meta', OWNER), tx.get('cursors', [name, ''])])
      const { epoch, whole } = (position ?? {}) as Partial<CursorRow>
      const isOurs = (owner as OwnerRow | undefined)?.user === user && epoch === base.epoch
      return isOurs && whole === true && base.whole ? tx.entries('base', name) : []
    })
    read?.then(
      (rows) => {
        if (isOver()) return
        const keys: string[] = []
        for (const [[, key], stored] of rows) {
          const { record, seq } = stored as BaseRow
          const held = base.rows.get(key)?.record
          const joined = held === undefined ? record : mergeRecords(held, record)
          if (!isLost(lost, seq) || joined === held) continue
          base.set(key, { record: joined, seq })
          keys.push(key)
        }
        this.#pushes.add(replica, keys)
      },
      // The next session tries again.
      () => {},
    )
  }

  /** Ends all comparisons. */
  stop(): void {
    this.#backoff.stop()
    this.#backoff.reset()
    this.#due.clear()
    this.#walks.clear()
  }

  /** The server's leaves arrived. */
  leaves({ payload }: SyncTrieResp): void {
    this.#withWalk(payload.mapName, (replica, walk) => {
      const digests = this.#digestsOf(replica)
      digests.refresh(Infinity)
      walk.leaves.push(...digests.differingLeaves(payload.leaves))
      if (walk.leaves.length === 0) return
      for (const key of digests.keysIn(walk.leaves)) walk.ours.add(key)
      this.#ask(replica, { type: 'SYNC_LEAVES', payload: { mapName: replica.name, leaves: walk.leaves } })
    })
  }

  /** The server's keys in leaves that differ arrived. */
  keys({ payload }: SyncLeavesResp): void {
    this.#withWalk(payload.mapName, (replica, { differing, ours }) => {
      const digests = this.#digestsOf(replica)
      digests.refresh(Infinity)
      for (const key of digests.differingKeys(payload.keys, payload.digests)) differing.push(key)
      for (const key of payload.keys) ours.delete(key)
      if (payload.more) return
      for (let at = 0; at < differing.length; at += FETCH_KEYS) {
        const keys = differing.slice(at, at + FETCH_KEYS)
        this.#ask(replica, { type: 'SYNC_FETCH', payload: { mapName: replica.name, keys } })
      }
      this.#pushes.add(replica, [...ours])
    })
  }

  /** The server's records under keys that differ arrived. */
  records({ payload }: SyncRecords<ReceivedRecord>): void {
    this.#withWalk(payload.mapName, (replica) => {
      const better = payload.records.flatMap(({ key, record, seq = 0 }) => {
        this.#kernel.data.clock.received(record.timestamp)
        return replica.base.merge(key, withoutVersion(record), seq) === undefined ? [] : [key]
      })
      this.#pushes.add(replica, better)
    })
  }

  /** A comparison of which a part is refused for now begins anew after a while. */
  #ask(replica: Replica, message: ClientMessage): string | undefined {
    const { epoch } = replica.base
    return this.#kernel.send(message, (error) => {
      if (!error.retryable) this.#kernel.report(error)
      else if (epoch === replica.base.epoch) {
        this.#backoff.pause(retryAfterOf(error), this.#askDue)
        this.#startAgain(replica)
      }
    })
  }

  #withWalk(mapName: string, run: (replica: Replica, walk: Walk) => void): void {
    const replica = this.#kernel.data.used.get(mapName)
    const walk = replica && this.#walks.get(replica)
    if (replica?.link === 'live' && walk?.epoch === replica.base.epoch) run(replica, walk)
  }

  #digestsOf(replica: Replica): BaseDigests {
    let found = this.#digests.get(replica)
    if (found === undefined) this.#digests.set(replica, (found = new BaseDigests(replica.base)))
    return found
  }
}
