import {
  encodeEventBody,
  encodeKeyedRecord,
  eventFrame,
  type EncodedBody,
  type Encoding,
  type Frame,
  type MapEvent,
} from '@syncline/protocol'
import type { ReadView } from '../inbound/authorize.ts'
import type { Entry } from '../store/map-state.ts'
import { redact, type OutgoingRecord } from './redact.ts'

/** The event that tells readers of a view of an entry's present state. */
export function eventOf(view: ReadView, entry: Entry): MapEvent {
  const record: OutgoingRecord = redact(view, entry)
  const eventType = record.value === null ? 'REMOVE' : 'PUT'
  return { mapName: entry.map.name, eventType, key: entry.key, record, seq: entry.seq }
}

/** The encoded record of an entry, for pages. */
export function keyedRecordBody(encoding: Encoding, view: ReadView, entry: Entry): EncodedBody {
  return encodeKeyedRecord(encoding, { key: entry.key, record: redact(view, entry), seq: entry.seq })
}

/** One turn's events of a map for all readers of a redaction class: each body and each frame is encoded at most once. */
export class SharedEvents {
  readonly entries: readonly Entry[]
  readonly #view: ReadView
  readonly #bodies: Partial<Record<Encoding, EncodedBody[]>> = {}
  readonly #frames = new Map<string, Frame>()

  constructor(view: ReadView, entries: readonly Entry[]) {
    this.#view = view
    this.entries = entries
  }

  /** The frame with all events. `position` is for followers by cursor. */
  frame(
    encoding: Encoding,
    mapName: string,
    position: { readonly cursor: string; readonly seq: number } | undefined,
  ): Frame {
    const kind = encoding + (position === undefined ? '' : position.cursor)
    let frame = this.#frames.get(kind)
    if (frame === undefined) {
      frame = eventFrame(encoding, { mapName, ...position }, this.#bodiesIn(encoding))
      this.#frames.set(kind, frame)
    }
    return frame
  }

  /** A frame for one receiver, without some entries; undefined where nothing is left. */
  frameWithout(encoding: Encoding, mapName: string, left: ReadonlySet<Entry>): Frame | undefined {
    const bodies = this.#bodiesIn(encoding).filter((_, i) => !left.has(this.entries[i] as Entry))
    return bodies.length === 0 ? undefined : eventFrame(encoding, { mapName }, bodies)
  }

  #bodiesIn(encoding: Encoding): EncodedBody[] {
    return (this.#bodies[encoding] ??= this.entries.map((entry) =>
      encodeEventBody(encoding, eventOf(this.#view, entry)),
    ))
  }
}
