import {
  encodeEventBody,
  encodeKeyedRecord,
  eventFrame,
  LIMITS,
  type EncodedBody,
  type Encoding,
  type Frame,
  type ItemEvent,
  type MapEvent,
} from '@syncline/protocol'
import type { ReadView } from '../inbound/authorize.ts'
import type { Entry } from '../store/map-state.ts'
import type { MapChange } from './change-feed.ts'
import { tagOf } from '../store/item-index.ts'
import { redact, type OutgoingRecord } from './redact.ts'

/** The event that tells readers of a view of an entry's present state. */
export function eventOf(view: ReadView, entry: Entry): MapEvent {
  const record: OutgoingRecord = redact(view, entry)
  const eventType = record.value === null ? 'REMOVE' : 'PUT'
  return { mapName: entry.map.name, eventType, key: entry.key, record, seq: entry.seq }
}

/** The same of an item of an OR-map for existing clients, which know keys and tags in place of records. */
export function itemEventOf(view: ReadView, entry: Entry): ItemEvent {
  const { key } = entry.map.items().of(entry)
  const tag = tagOf(entry, key)
  const { value, timestamp, ttlMs } = redact(view, entry)
  const head = { mapName: entry.map.name, key, seq: entry.seq }
  if (value === null) return { ...head, eventType: 'OR_REMOVE', orTag: tag }
  const orRecord = { value, timestamp, tag, ...(ttlMs === undefined ? {} : { ttlMs }) }
  return { ...head, eventType: 'OR_ADD', orRecord }
}

/** The encoded event of an entry, for followers by cursor or for others. */
export function eventBody(encoding: Encoding, view: ReadView, entry: Entry, usesCursor: boolean): EncodedBody {
  const isItem = !usesCursor && entry.map.kind === 'or'
  return encodeEventBody(encoding, isItem ? itemEventOf(view, entry) : eventOf(view, entry))
}

/** The encoded record of an entry, for pages. */
export function keyedRecordBody(encoding: Encoding, view: ReadView, entry: Entry): EncodedBody {
  return encodeKeyedRecord(encoding, { key: entry.key, record: redact(view, entry), seq: entry.seq })
}

/** Some of a turn's events: as many as one frame takes, so that no follower is handed more than a page at once. */
export interface EventPart {
  readonly entries: readonly Entry[]
  readonly bodies: readonly EncodedBody[]
  /** Seq of its last event. */
  readonly seq: number
  /** The frames with all its events, for followers by cursor and for others, once they were asked for. */
  withCursor: Frame | undefined
  plain: Frame | undefined
}

/** One turn's events of a map for all readers of a redaction class: each body and each frame is encoded at most once. */
export class SharedEvents {
  readonly #view: ReadView
  readonly #mapName: string
  readonly #entries: readonly Entry[]
  readonly #cursorAt: (seq: number) => string
  readonly #parts: Partial<Record<Encoding, EventPart[]>> = {}
  /** The same for followers without a cursor, where those are told of items in another way. */
  readonly #itemParts: Partial<Record<Encoding, EventPart[]>> = {}
  readonly #pruned: Partial<Record<Encoding, Frame>> = {}

  constructor(view: ReadView, mapName: string, entries: readonly Entry[], cursorAt: (seq: number) => string) {
    this.#view = view
    this.#mapName = mapName
    this.#entries = entries
    this.#cursorAt = cursorAt
  }

  /** The events in seq order, a frame's worth at a time. */
  parts(encoding: Encoding, usesCursor: boolean): readonly EventPart[] {
    const isOfItems = !usesCursor && this.#entries[0]?.map.kind === 'or'
    return ((isOfItems ? this.#itemParts : this.#parts)[encoding] ??= this.#split(encoding, usesCursor))
  }

  /** The frame of a part for followers by cursor. */
  frameWithCursor(encoding: Encoding, part: EventPart): Frame {
    const { seq, bodies } = part
    return (part.withCursor ??= eventFrame(
      encoding,
      { mapName: this.#mapName, cursor: this.#cursorAt(seq), seq },
      bodies,
    ))
  }

  /** The frame that follows the parts where tombstones were forgotten in the same turn. */
  prunedFrame(encoding: Encoding, { map, seq }: MapChange): Frame {
    const head = { mapName: map.name, cursor: this.#cursorAt(seq), seq, prunedThroughSeq: map.pruned.seq }
    return (this.#pruned[encoding] ??= eventFrame(encoding, head, []))
  }

  /** The frame of a part for existing clients. */
  plainFrame(encoding: Encoding, part: EventPart): Frame {
    return (part.plain ??= eventFrame(encoding, { mapName: this.#mapName }, part.bodies))
  }

  /** A frame for one receiver, without some entries; undefined where nothing is left. */
  plainFrameWithout(encoding: Encoding, part: EventPart, left: ReadonlySet<Entry>): Frame | undefined {
    const bodies = part.bodies.filter((_, i) => !left.has(part.entries[i] as Entry))
    return bodies.length === 0 ? undefined : eventFrame(encoding, { mapName: this.#mapName }, bodies)
  }

  #split(encoding: Encoding, usesCursor: boolean): EventPart[] {
    const parts: EventPart[] = []
    let entries: Entry[] = []
    let bodies: EncodedBody[] = []
    let bytes = 0
    for (const [i, entry] of this.#entries.entries()) {
      const body = eventBody(encoding, this.#view, entry, usesCursor)
      entries.push(entry)
      bodies.push(body)
      bytes += body.length
      const isFull = bytes >= LIMITS.pageBytes || bodies.length >= LIMITS.pageRecords
      if (!isFull && i < this.#entries.length - 1) continue
      parts.push({ entries, bodies, seq: entry.seq, withCursor: undefined, plain: undefined })
      entries = []
      bodies = []
      bytes = 0
    }
    return parts
  }
}
