import { createHash } from 'node:crypto'
import { copyValue } from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'
import type { Question } from './query-group.ts'

/** Deeper than any query that compiles. */
const MAX_SPEC_DEPTH = 128

/**
 * Who asks the same in the same redaction class shares a result. A strong hash, because a client that could make two
 * questions look the same would decide what another client is answered.
 */
export function groupKey(redactionClass: string, { spec, fields }: Question): string | undefined {
  const { where = {}, predicate = null, sort = {}, limit = 0, cursor = null } = spec
  const shown = fields === undefined ? null : [...fields].sort()
  const copy = copyValue([where, predicate, Object.entries(sort), limit, cursor, shown], MAX_SPEC_DEPTH)
  if (!('value' in copy)) return undefined
  return `${redactionClass} ${createHash('sha256').update(canonicalBytes(copy.value)).digest('base64url')}`
}
