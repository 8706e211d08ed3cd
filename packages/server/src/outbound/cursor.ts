import type { ReadView } from '../inbound/authorize.ts'

/** What a follower's opaque cursor says: where it stands, in which redaction class, in which database. */
export interface Cursor {
  readonly seq: number
  /** `prunedThroughSeq` when the diff that led here began: tombstones pruned since then were not missed. */
  readonly floor: number
  readonly redactionClass: string
  readonly databaseId: string
}

/** Writes a cursor. */
export function formatCursor(cursor: Cursor): string {
  return `${cursor.seq.toString(36)}.${cursor.floor.toString(36)}.${cursor.redactionClass}.${cursor.databaseId}`
}

/** Reads a cursor back; undefined where the text is none. */
export function parseCursor(text: string): Cursor | undefined {
  const match = /^([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([*0-9a-z]{1,20})\.([^.]{1,64})$/.exec(text)
  if (match === null) return undefined
  const [seq, floor] = [Number.parseInt(match[1] as string, 36), Number.parseInt(match[2] as string, 36)]
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(floor)) return undefined
  return { seq, floor, redactionClass: match[3] as string, databaseId: match[4] as string }
}

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
