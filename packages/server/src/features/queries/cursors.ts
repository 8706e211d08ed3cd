import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import {
  decodeQueryCursor,
  encodeQueryCursor,
  fieldReader,
  queryHash,
  type QueryCursor,
  type QuerySpec,
  type Value,
} from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'
import type { ReadView } from '../../inbound/authorize.ts'
import type { MapState } from '../../store/map-state.ts'
import { readRow, rowAt } from '../../store/rows.ts'

/** Characters of a cursor that holds the sort values themselves. One that would be longer names the row instead. */
const MAX_VALUES_LENGTH = 16_384
/** Bytes of the code that only this server can make. */
const MAC_BYTES = 16
const MAC_LENGTH = Math.ceil((MAC_BYTES * 4) / 3)

/**
 * Makes cursors that only this database's servers can make. A cursor says after which row a page begins: by the row's key
 * and sort values, or, where these are very long, by the key and their digest. Such a one stands for as long as the row has
 * them.
 */
export class QueryCursors {
  readonly #secret: string

  constructor(secret: string) {
    this.#secret = secret
  }

  /** The cursor of the page that begins after a row. */
  seal(map: MapState, spec: QuerySpec, key: string, value: Value): string {
    const whole = `v${encodeQueryCursor(spec, key, value)}`
    const text = whole.length <= MAX_VALUES_LENGTH ? whole : `r${named(spec, key, value)}`
    return `${text}${this.#mac(map, text)}`
  }

  /** Reads a cursor back; undefined where this database has not given it for this query, or its row has changed. */
  open(map: MapState, view: ReadView, spec: QuerySpec, cursor: string, nowMs: number): QueryCursor | undefined {
    const [text, mac] = [cursor.slice(0, -MAC_LENGTH), cursor.slice(-MAC_LENGTH)]
    const expected = Buffer.from(this.#mac(map, text))
    const given = Buffer.from(mac)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
    if (text.startsWith('v')) {
      const decoded = decodeQueryCursor(spec, text.slice(1))
      return decoded.ok ? decoded.value : undefined
    }
    const { key } = JSON.parse(Buffer.from(text.slice(1), 'base64url').toString()) as { key: string }
    const row = rowAt(map, key)
    const value = row && readRow(view, row, nowMs)
    if (value === undefined || text.slice(1) !== named(spec, key, value)) return undefined
    return { key, sortValues: sortValuesOf(spec, value) }
  }

  #mac(map: MapState, text: string): string {
    const mac = createHmac('sha256', this.#secret).update(`${map.name}\0${text}`).digest()
    return mac.subarray(0, MAC_BYTES).toString('base64url')
  }
}

function named(spec: QuerySpec, key: string, value: Value): string {
  const digest = createHash('sha256')
    .update(canonicalBytes(sortValuesOf(spec, value)))
    .digest('base64url')
  return Buffer.from(JSON.stringify({ query: queryHash(spec), key, digest })).toString('base64url')
}

function sortValuesOf({ sort = {} }: QuerySpec, value: Value): Value[] {
  return Object.keys(sort).map((path) => fieldReader(path)(value) ?? null)
}
