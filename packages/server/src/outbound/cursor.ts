import type { ReadView } from '../inbound/authorize.ts'

/** What a follower's opaque cursor says: where it stands, in which redaction class, in which database. */
export interface Cursor {
  readonly seq: number
  /** `prunedThroughSeq` when the diff that led here began: tombstones pruned since then were not missed. */
  readonly floor: number
  readonly redactionClass: string
  readonly databaseId: string
  /** Only in a cursor that was given out before the follower reached the head. */
  readonly gap?: CursorGap
}

/**
 * What a follower between two heads has not seen. A page shows each record at its latest place and leaves out earlier
 * ones; if a crash takes the latest, the record is back at a place that the follower has passed.
 */
export interface CursorGap {
  /** The head that the follower had reached before: from there on it misses nothing. */
  readonly safe: number
  /** The head when the cursor was given out. */
  readonly head: number
}

/** Writes a cursor. */
export function formatCursor({ seq, floor, redactionClass, databaseId, gap }: Cursor): string {
  const whole = `${seq.toString(36)}.${floor.toString(36)}.${redactionClass}.${databaseId}`
  return gap === undefined ? whole : `${whole}.${gap.safe.toString(36)}.${gap.head.toString(36)}`
}

/** Reads a cursor back; undefined where the text is none. */
export function parseCursor(text: string): Cursor | undefined {
  const match = CURSOR.exec(text)
  if (match === null) return undefined
  const [, seqText, floorText, redactionClass = '', databaseId = '', safeText, headText] = match
  const [seq, floor, safe, head] = [seqText, floorText, safeText, headText].map((part) =>
    Number.parseInt(part ?? '0', 36),
  )
  if (![seq, floor, safe, head].every(Number.isSafeInteger)) return undefined
  const cursor = { seq: seq as number, floor: floor as number, redactionClass, databaseId }
  return headText === undefined ? cursor : { ...cursor, gap: { safe: safe as number, head: head as number } }
}

const CURSOR =
  /^([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([*0-9a-z]{1,20})\.([^.]{1,64})(?:\.([0-9a-z]{1,11})\.([0-9a-z]{1,11}))?$/

/** Why a cursor cannot be resumed, or undefined if it can. */
export function resetReason(
  cursor: Cursor,
  view: ReadView,
  databaseId: string,
  prunedThroughSeq: number,
): string | undefined {
  if (cursor.databaseId !== databaseId) return 'The cursor belongs to another database.'
  if (cursor.redactionClass !== view.redactionClass) return 'The fields that may be read have changed.'
  if (cursor.seq < prunedThroughSeq && cursor.floor < prunedThroughSeq) {
    return 'Deletions that this cursor has not seen are no longer kept.'
  }
  return undefined
}
