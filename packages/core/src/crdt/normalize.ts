import { compareStamps, maxStamp, type Stamp } from '../clock/hlc.ts'
import { isMap, type Value } from '../value/value.ts'
import type { FieldState, LwwRecord } from './record.ts'

/** A record as it arrives from outside: each part is well-formed, but nothing says that they fit together. */
export interface RawRecord extends Omit<LwwRecord, 'base'> {
  /** Left out where it equals `timestamp`. */
  readonly base?: Stamp
}

/**
 * Brings a record from outside into normal form (SPEC [LW10]), which merging and digests rely on; the record itself if
 * it is a whole write that has it. Values, stamps and names must have been checked before.
 */
export function normalizeRecord(raw: RawRecord): LwwRecord {
  const { base = raw.timestamp, fields: rawFields } = raw
  let timestamp = maxStamp(raw.timestamp, base)
  const ttlMs = raw.value === null ? undefined : raw.ttlMs
  if (rawFields === undefined) {
    const isNormal = timestamp === raw.timestamp && base === raw.base && ttlMs === raw.ttlMs
    if (isNormal && !Object.is(raw.value, -0)) return raw as LwwRecord
    const value = withoutMinusZero(raw.value)
    return ttlMs === undefined ? { value, timestamp, base } : { value, timestamp, base, ttlMs }
  }
  const shown: Record<string, Value> | undefined = isMap(raw.value) ? { ...raw.value } : undefined
  const fields: Record<string, FieldState> = {}
  for (const [name, { stamp, unset, value: hidden }] of Object.entries(rawFields)) {
    if (compareStamps(stamp, base) <= 0) continue
    timestamp = maxStamp(timestamp, stamp)
    const isShown = shown !== undefined && Object.hasOwn(shown, name)
    if (unset === true || (!isShown && hidden === undefined)) {
      if (isShown) delete shown[name]
      fields[name] = { stamp, unset: true }
    } else if (shown === undefined) fields[name] = { stamp, value: withoutMinusZero(hidden as Value) }
    else {
      if (!isShown) shown[name] = withoutMinusZero(hidden as Value)
      fields[name] = { stamp }
    }
  }
  return {
    value: shown ?? withoutMinusZero(raw.value),
    timestamp,
    base,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
  }
}

function withoutMinusZero(value: Value): Value {
  return value === 0 ? 0 : value
}
