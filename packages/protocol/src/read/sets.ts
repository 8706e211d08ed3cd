import type { Stamp } from '@syncline/core'
import { isTriePath } from '@syncline/core/merkle'
import { LIMITS } from '../limits.ts'
import type { OrRecord } from '../messages/maps.ts'
import type {
  OrEntry,
  OrMapDiffRequest,
  OrMapMerkleReqBucket,
  OrMapPushDiff,
  OrMapSyncInit,
  RefusedItem,
} from '../messages/sets.ts'
import {
  isFields,
  isFiniteNumber,
  readList,
  readMapName,
  readName,
  readStamp,
  readText,
  type Fields,
} from './fields.ts'
import { readItem } from './item.ts'
import { refuse } from './refusal.ts'

/** Reads ORMAP_SYNC_INIT. Its hashes are the client's own and say nothing that the server has to know. */
export function readOrMapSyncInit(fields: Fields): OrMapSyncInit {
  const mapName = readMapName(fields)
  const { rootHash, bucketHashes, lastSyncTimestamp } = fields
  if (rootHash !== undefined && !isFiniteNumber(rootHash)) refuse('VALIDATION_ERROR', 'rootHash', 'must be a number')
  if (bucketHashes !== undefined) {
    if (!isFields(bucketHashes) || !Object.values(bucketHashes).every(isFiniteNumber))
      refuse('VALIDATION_ERROR', 'bucketHashes', 'must be a map of numbers')
  }
  if (lastSyncTimestamp !== undefined && !isFiniteNumber(lastSyncTimestamp))
    readStamp(lastSyncTimestamp, 'lastSyncTimestamp')
  return {
    type: 'ORMAP_SYNC_INIT',
    mapName,
    ...(rootHash === undefined ? {} : { rootHash }),
    ...(bucketHashes === undefined ? {} : { bucketHashes: bucketHashes as Record<string, number> }),
    ...(lastSyncTimestamp === undefined ? {} : { lastSyncTimestamp: lastSyncTimestamp as number | Stamp }),
  }
}

/** Reads ORMAP_MERKLE_REQ_BUCKET. */
export function readOrMapMerkleReqBucket(fields: Fields): OrMapMerkleReqBucket {
  const mapName = readMapName(fields)
  const path = readText(fields, 'path')
  if (!isTriePath(path)) refuse('VALIDATION_ERROR', 'path', 'must be up to 8 hexadecimal digits in lower case')
  return { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName, path } }
}

/** Reads ORMAP_DIFF_REQUEST. */
export function readOrMapDiffRequest(fields: Fields): OrMapDiffRequest {
  const mapName = readMapName(fields)
  const keys = readList(fields, 'keys', LIMITS.fetchKeys, 'fetchKeys').map((key, i) =>
    readName(key, `keys[${i}]`, LIMITS.keyBytes),
  )
  return { type: 'ORMAP_DIFF_REQUEST', payload: { mapName, keys } }
}

/** Reads ORMAP_PUSH_DIFF. An item that cannot be read is marked in its place. */
export function readOrMapPushDiff(fields: Fields): OrMapPushDiff<OrRecord | RefusedItem> {
  const mapName = readMapName(fields)
  let records = 0
  const entries = readList(fields, 'entries', LIMITS.fetchKeys, 'fetchKeys').map((item, i) => {
    const path = `entries[${i}]`
    if (!isFields(item)) refuse('VALIDATION_ERROR', path, 'must be a map')
    const entry = readEntry(item, path)
    records += entry.records.length
    if (records > LIMITS.fetchKeys)
      refuse('TOO_LARGE', path, `must not be more than ${LIMITS.fetchKeys} records in all`, 'fetchKeys')
    return entry
  })
  return { type: 'ORMAP_PUSH_DIFF', payload: { mapName, entries } }
}

function readEntry(item: Fields, path: string): OrEntry<OrRecord | RefusedItem> {
  const key = readName(item['key'], `${path}.key`, LIMITS.keyBytes)
  const { records, tombstones } = item
  if (!Array.isArray(records)) refuse('VALIDATION_ERROR', `${path}.records`, 'must be a list')
  if (!Array.isArray(tombstones)) refuse('VALIDATION_ERROR', `${path}.tombstones`, 'must be a list')
  for (const tag of tombstones as readonly unknown[]) {
    if (typeof tag !== 'string') refuse('VALIDATION_ERROR', `${path}.tombstones`, 'must hold texts')
  }
  return {
    key,
    records: (records as readonly unknown[]).map((record) => readItem(record, key)),
    tombstones: tombstones as readonly string[],
  }
}
