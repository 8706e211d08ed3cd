import { ZERO_STAMP, isTombstone, itemKey, type Env } from '@syncline/core'
import { isUnderPath } from '@syncline/core/merkle'
import type { OrEntry, OrRecord, ReceivedOp, RefusedItem, WireError } from '@syncline/protocol'
import { forbidden, type Authorizer, type ReadView, type WriteGrant } from '../../inbound/authorize.ts'
import type { ChangeFeed } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import { tagOf, type ItemSet } from '../../store/item-index.ts'
import { isOfKind, wrongKind } from '../../store/kinds.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { rowCount } from '../../store/rows.ts'
import type { Store } from '../../store/store.ts'
import type { SlicedWork } from '../../sliced-work.ts'
import { KeyTrie } from './key-trie.ts'

/** Redaction classes whose tries a map keeps. There are as many as policies make, which is few. */
const MAX_TRIES = 8
/** Entries whose tags are taken in in one step. */
const ENTRIES_PER_STEP = 256

/** What the service needs of the server. */
export interface SetHost {
  readonly env: Env
  readonly store: Store
  readonly feed: ChangeFeed
  readonly authorizer: Authorizer
  readonly work: SlicedWork
}

/** What was refused of a push: the first reason, and how many items it or another one hit. */
export interface RefusedPush {
  readonly error: WireError
  readonly refused: number
}

/** What is kept of an OR-map for those who compare it by keys. */
interface Kept {
  readonly triesByClass: Map<string, Made<KeyTrie>>
  tags: Made<TagIndex> | undefined
}

/** What is made of a whole map for the first who asks. */
interface Made<T> {
  readonly value: T
  /** Settles when it is made; undefined from then on. */
  building: Promise<void> | undefined
}

/** OR-maps for existing clients: where their copies differ from the server's, and what they push. */
export class SetService {
  readonly #host: SetHost
  readonly #keptByMap = new WeakMap<MapState, Kept>()

  constructor(host: SetHost) {
    this.#host = host
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
    const { triesByClass } = this.#kept(map)
    let kept = triesByClass.get(view.redactionClass)
    if (kept === undefined) {
      const [oldest] = triesByClass.keys()
      if (triesByClass.size >= MAX_TRIES && oldest !== undefined) triesByClass.delete(oldest)
      kept = this.#make(map, new KeyTrie(map, view), () => triesByClass.delete(view.redactionClass))
      triesByClass.set(view.redactionClass, kept)
    }
    return whenMade(kept)
  }

  #tags(map: MapState): TagIndex | Promise<TagIndex> {
    const kept = this.#kept(map)
    return whenMade((kept.tags ??= this.#make(map, new TagIndex(map), () => (kept.tags = undefined))))
  }

  /** Makes something of a map, in steps. What fails is forgotten, so that the next who asks begins anew. */
  #make<T extends { build(): Generator<void, void> }>(map: MapState, value: T, forget: () => void): Made<T> {
    const made: Made<T> = { value, building: undefined }
    const done = (): void => void (made.building = undefined)
    made.building = this.#host.work
      .run(map, value.build(), () => true, done)
      ?.catch((error: unknown) => {
        forget()
        throw error
      })
    return made
  }

  /** What it costs to have the trie: every key of the map is looked at once, and then never again. */
  trieCost(session: Session, mapName: string): number {
    const opened = this.open(session, mapName)
    if ('error' in opened) return 1
    const { map, view } = opened
    return 16 + (this.#keptByMap.get(map)?.triesByClass.has(view.redactionClass) === true ? 0 : rowCount(map))
  }

  /** The keys under a path of three digits or more, in order. */
  under(map: MapState, path: string): readonly ItemSet[] {
    const found: ItemSet[] = []
    for (const set of map.items().leaf(path)) if (isUnderPath(set.keyHash, path)) found.push(set)
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** Merges what a client holds and the server may lack. Answers what was refused, if anything was: later where removals wait. */
  push(
    session: Session,
    mapName: string,
    entries: readonly OrEntry<OrRecord | RefusedItem>[],
  ): RefusedPush | undefined | Promise<RefusedPush | undefined> {
    const { write: grant } = session.rights(this.#host.authorizer, mapName)
    if (grant === undefined) return { error: forbidden(mapName, 'PUT'), refused: 0 }
    const map = this.#mapOf(mapName)
    if (!isOfKind(map, 'or')) return { error: wrongKind(map, 'or'), refused: 0 }
    const { ops, errors } = adds(mapName, entries)
    errors.push(...this.#commit(session, grant, ops))
    const tombstones = new Set(entries.flatMap((entry) => entry.tombstones))
    const remove = (tags: TagIndex | undefined): RefusedPush | undefined => {
      const { write, view } = session.rights(this.#host.authorizer, mapName)
      // To who sees some fields, what was told as removed may be an item without them.
      if (tags !== undefined && write !== undefined && view?.fields === undefined)
        errors.push(...this.#commit(session, write, removals(map, tags, tombstones)))
      const [error] = errors
      return error === undefined ? undefined : { error, refused: errors.length }
    }
    const tags = tombstones.size > 0 ? this.#tags(map) : undefined
    return tags instanceof Promise ? tags.then(remove) : remove(tags)
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

  #kept(map: MapState): Kept {
    let kept = this.#keptByMap.get(map)
    if (kept === undefined) this.#keptByMap.set(map, (kept = { triesByClass: new Map(), tags: undefined }))
    return kept
  }

  #mapOf(mapName: string): MapState {
    const map = this.#host.store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    return map
  }
}

function whenMade<T>({ value, building }: Made<T>): T | Promise<T> {
  return building === undefined ? value : building.then(() => value)
}

/** Existing clients name all removed tags of a map, whatever the key: each stands for the items that have it. */
function removals(map: MapState, tags: TagIndex, tombstones: ReadonlySet<string>): ReceivedOp[] {
  const ops: ReceivedOp[] = []
  for (const tag of tombstones) {
    for (const { key } of tags.at(tag)) {
      ops.push({ mapName: map.name, key, opType: 'OR_REMOVE', record: { value: null, timestamp: ZERO_STAMP } })
    }
  }
  return ops
}

function adds(
  mapName: string,
  entries: readonly OrEntry<OrRecord | RefusedItem>[],
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

/** The items of a map that are not removed, by tag. Made for the first client that pushes removals without their keys. */
class TagIndex {
  readonly #map: MapState
  readonly #entriesByTag = new Map<string, Entry[]>()
  #through = 0

  constructor(map: MapState) {
    this.#map = map
  }

  /** Takes in what the map has, in steps. */
  *build(): Generator<void, void> {
    while (this.#takeIn(ENTRIES_PER_STEP)) yield
  }

  at(tag: string): readonly Entry[] {
    this.#takeIn(Infinity)
    return this.#entriesByTag.get(tag) ?? []
  }

  /** Takes in as many changed entries. True if there may be more. */
  #takeIn(most: number): boolean {
    let taken = 0
    this.#map.log.since(this.#through, (entry) => {
      this.#put(entry)
      this.#through = entry.seq
      return ++taken < most
    })
    if (taken < most) this.#through = this.#map.log.head
    return taken >= most
  }

  #put(entry: Entry): void {
    const tag = tagOf(entry, this.#map.items().of(entry).key)
    const others = (this.#entriesByTag.get(tag) ?? []).filter((each) => each !== entry)
    if (!isTombstone(entry.record)) others.push(entry)
    if (others.length === 0) this.#entriesByTag.delete(tag)
    else this.#entriesByTag.set(tag, others)
  }
}
