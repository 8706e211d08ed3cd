import { isFieldName } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { CounterCounts, CounterRequest, CounterSync } from '../messages/counters.ts'
import { isCount, isFields, readName, type Fields } from './fields.ts'
import { refuse } from './refusal.ts'

/** Reads COUNTER_REQUEST. */
export function readCounterRequest(fields: Fields): CounterRequest {
  return { type: 'COUNTER_REQUEST', payload: { name: readName(fields['name'], 'name', LIMITS.counterNameBytes) } }
}

/** Reads COUNTER_SYNC. Its state may have either shape, or both: of each count the greater is taken. */
export function readCounterSync(fields: Fields): CounterSync<CounterCounts> {
  const name = readName(fields['name'], 'name', LIMITS.counterNameBytes)
  const { state } = fields
  if (!isFields(state)) refuse('VALIDATION_ERROR', 'state', 'must be a map')
  const counts: Record<'p' | 'n', Record<string, number>> = { p: {}, n: {} }
  let isState = false
  for (const [member, part] of PARTS) {
    if (state[member] === undefined) continue
    isState = true
    readCounts(counts[part], state[member], `state.${member}`)
  }
  if (!isState) refuse('VALIDATION_ERROR', 'state', 'must have p and n, or positive and negative')
  return { type: 'COUNTER_SYNC', payload: { name, state: counts } }
}

const PARTS = [
  ['p', 'p'],
  ['positive', 'p'],
  ['n', 'n'],
  ['negative', 'n'],
] as const

function readCounts(counts: Record<string, number>, given: unknown, path: string): void {
  if (!isFields(given)) refuse('VALIDATION_ERROR', path, 'must be a map from node ids to counts')
  const rows = Object.entries(given)
  if (rows.length > LIMITS.counterRows)
    refuse('TOO_LARGE', path, `must name at most ${LIMITS.counterRows} nodes`, 'counterRows')
  for (const [node, count] of rows) {
    readName(node, path, LIMITS.keyBytes)
    if (!isFieldName(node)) refuse('BAD_KEY', path, 'must have node ids that are not reserved')
    if (!isCount(count)) refuse('VALIDATION_ERROR', path, 'must hold whole numbers from 0 to 2^53 − 1')
    counts[node] = Math.max(Object.hasOwn(counts, node) ? (counts[node] as number) : 0, count)
  }
}
