import { fromTagged, needsTags, toTagged } from '@syncline/core'

/** The JSON text of a message or of part of one (SPEC [FR4], [FR5]). */
export function stringify(part: unknown): string {
  return JSON.stringify(typeof part === 'object' && part !== null && needsTags(part) ? toTagged(part) : part)
}

/**
 * What a text of a trusted writer stands for. It is not asked how deep it nests, or for anything that `JSON.stringify`
 * does not write: minus zero, and escaped letters. Throws `SyntaxError` or `BadBytes`.
 */
export function parseTrusted(text: string): unknown {
  const parsed: unknown = JSON.parse(text)
  return text.includes('$bytes"') ? fromTagged(parsed) : parsed
}

/** Ids that stand in JSON as they are. */
const PLAIN = /^[\w:.-]*$/

/** The JSON text of a text that is mostly an id or a name. */
export function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}
