import { ZERO_STAMP, itemKey, type Env } from '@syncline/core'
import { isUnderPath } from '@syncline/core/merkle'
import type { OrEntry, OrRecord, ReceivedOp, RefusedItem, WireError } from '@syncline/protocol'
import { forbidden, type Authorizer, type ReadView, type WriteGrant } from '../../inbound/authorize.ts'
import type { ChangeFeed } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import type { ItemSet } from '../../store/item-index.ts'
import type { SlicedWork } from '../../sliced-work.ts'
import { isOfKind, wrongKind } from '../../store/kinds.ts'
import type { MapState } from '../../store/map-state.ts'
import type { Store } from '../../store/store.ts'
import { SetIndexes } from './indexes.ts'
import type { KeyTrie } from './key-trie.ts'
import type { TagIndex } from './tag-index.ts'

/** What the service needs of the server. */
export interface SetHost {
  readonly env: Env
  readonly store: Store
  readonly feed: ChangeFeed
  readonly authorizer: Authorizer
  readonly work: SlicedWork
}

/** A key of a push, with items that may be none. */
type PushedEntry = OrEntry<OrRecord | RefusedItem>

/** What was refused of a push: the first reason, and how many items it or another one hit. */
export interface RefusedPush {
  readonly error: WireError
  readonly refused: number
}

/** OR-maps for existing clients: where their copies differ from the server's, and what they push. */
export class SetService {
  readonly #host: SetHost
  readonly #indexes: SetIndexes

  constructor(host: SetHost) {
    this.#host = host
    this.#indexes = new SetIndexes(host.env, host.work)
  }

  /** An OR-map in memory and the session's view of it, or why it may not be read. */
  open(
    session: Session,
    mapName: string,
  ): { readonly map: MapState; readonly view: ReadView } | { readonly error: WireError } {
    const { view } = session.rights(this.#host.authorizer, mapName)
    if (view === undefined) return { error: forbidden(mapName, 'READ') }
    const map = this.#mapOf(mapName)
    return isOfKind(map, 'or') ? { map, view } : { error: wrongKind(map, 'or') }
  }

  /** The trie that readers of a view compare with theirs. A promise where it takes longer to make than a turn may. */
  trie(map: MapState, view: ReadView): KeyTrie | Promise<KeyTrie> {
    return this.#indexes.trie(map, view)
  }

  /** What it costs to have the trie: every key of the map is looked at once, and then for as long as it is asked for never again. */
  trieCost(session: Session, mapName: string): number {
    const opened = this.open(session, mapName)
    return 'error' in opened ? 1 : 16 + this.#indexes.trieWork(opened.map, opened.view)
  }

  /** The keys under a path of three digits or more, in order. */
  under(map: MapState, path: string): readonly ItemSet[] {
    const found: ItemSet[] = []
    for (const set of map.items().leaf(path)) if (isUnderPath(set.keyHash, path)) found.push(set)
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** What a push costs: its items and tombstones, and what must be looked at to find these. */
  pushCost(session: Session, mapName: string, entries: readonly PushedEntry[]): number {
    const items = entries.reduce((sum, { records, tombstones }) => sum + 1 + records.length + tombstones.length, 0)
    const opened = this.#openToPush(session, mapName)
    const mayRemove =
      !('error' in opened) && opened.mayRemove && entries.some(({ tombstones }) => tombstones.length > 0)
    return items + (mayRemove ? this.#indexes.tagsWork(opened.map) : 0)
  }

  /**
   * Merges what a client holds and the server may lack. Answers what was refused, if anything was; a promise where it takes
   * longer than a turn may to find what the push removes.
   */
  push(
    session: Session,
    mapName: string,
    entries: readonly PushedEntry[],
  ): RefusedPush | undefined | Promise<RefusedPush | undefined> {
    const opened = this.#openToPush(session, mapName)
    if ('error' in opened) return { error: opened.error, refused: 0 }
    const tombstones = new Set(opened.mayRemove ? entries.flatMap((entry) => entry.tombstones) : [])
    const tags = tombstones.size === 0 ? undefined : this.#indexes.tags(opened.map)
    if (tags instanceof Promise) return tags.then(() => this.push(session, mapName, entries))
    const { ops, errors } = adds(mapName, entries)
    errors.push(...this.#commit(session, opened.grant, ops))
    // An item of this very push may be one that it removes.
    if (tags !== undefined) {
      tags.catchUpNow()
      errors.push(...this.#commit(session, opened.grant, removals(mapName, tags, tombstones)))
    }
    const [error] = errors
    return error === undefined ? undefined : { error, refused: errors.length }
  }

  /** An OR-map in memory and the right to write it, or why it may not be pushed to. */
  #openToPush(
    session: Session,
    mapName: string,
  ):
    | { readonly map: MapState; readonly grant: WriteGrant; readonly mayRemove: boolean }
    | { readonly error: WireError } {
    const { write: grant, view } = session.rights(this.#host.authorizer, mapName)
    if (grant === undefined) return { error: forbidden(mapName, 'PUT') }
    const map = this.#mapOf(mapName)
    if (!isOfKind(map, 'or')) return { error: wrongKind(map, 'or') }
    // To who sees some fields, what was told as removed may be an item without them.
    return { map, grant, mayRemove: view?.fields === undefined }
  }

  /** For the operator. */
  inspect(): { readonly indexedMaps: number; readonly indexedKeys: number } {
    return this.#indexes.inspect()
  }

  #commit(session: Session, grant: WriteGrant, ops: readonly ReceivedOp[]): WireError[] {
    const { store, feed } = this.#host
    const errors: WireError[] = []
    for (const outcome of store.committer.commit({ grant, ops, level: 'MEMORY' })) {
      if (!outcome.ok) errors.push(outcome.error)
      else if (outcome.changed && outcome.exact && !session.usesCursors) feed.noteOwnWrite(session, outcome.entry)
    }
    return errors
  }

  #mapOf(mapName: string): MapState {
    const map = this.#host.store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    return map
  }
}

function adds(
  mapName: string,
  entries: readonly PushedEntry[],
): { readonly ops: ReceivedOp[]; readonly errors: WireError[] } {
  const ops: ReceivedOp[] = []
  const errors: WireError[] = []
  for (const { key, records } of entries) {
    for (const item of records) {
      if ('refused' in item) errors.push(item.refused)
      else {
        const { tag, ...record } = item
        ops.push({ mapName, key: itemKey(tag, key), opType: 'OR_ADD', record })
      }
    }
  }
  return { ops, errors }
}

/** Existing clients name all removed tags of a map, whatever the key: each stands for the items that have it. */
function removals(mapName: string, tags: TagIndex, tombstones: ReadonlySet<string>): ReceivedOp[] {
  const ops: ReceivedOp[] = []
  for (const tag of tombstones) {
    for (const { key } of tags.at(tag)) {
      ops.push({ mapName, key, opType: 'OR_REMOVE', record: { value: null, timestamp: ZERO_STAMP } })
    }
  }
  return ops
}
