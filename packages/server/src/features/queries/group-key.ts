import { createHash } from 'node:crypto'
import { copyValue, type QuerySpec } from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'

/** Deeper than any query that compiles. */
const MAX_SPEC_DEPTH = 128

/**
 * Who asks the same in the same redaction class shares a result. A strong hash, because a client that could make two
 * questions look the same would decide what another client is answered.
 */
export function groupKey(redactionClass: string, spec: QuerySpec): string | undefined {
  const { where = {}, predicate = null, sort = {}, limit = 0, cursor = '' } = spec
  const copy = copyValue([where, predicate, Object.entries(sort), limit, cursor], MAX_SPEC_DEPTH)
  if (!('value' in copy)) return undefined
  return `${redactionClass} ${createHash('sha256').update(canonicalBytes(copy.value)).digest('base64url')}`
}
