import { err, ok, type Result, type Stamp } from '@syncline/core'
import type { WireError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import {
  isCount,
  isFields,
  isFiniteNumber,
  readId,
  readList,
  readMapName,
  readStamp,
  readText,
  type Fields,
} from './fields.ts'
import { Refusal, refuse } from './refusal.ts'

/** The outline of a `POST /sync`. What its parts hold is judged where each is read as a message. */
export interface ReceivedHttpSync {
  readonly clientId: string
  readonly clientHlc: Stamp
  /** Undefined where the body has none; each is an op, or something that is refused as one. */
  readonly operations: readonly unknown[] | undefined
  readonly syncMaps: readonly { readonly mapName: string; readonly lastSyncTimestamp: Stamp | number | undefined }[]
  readonly queries: readonly {
    readonly queryId: string
    readonly mapName: string
    readonly limit: number | undefined
    readonly offset: number
    /** The query without its limit. */
    readonly query: Fields
  }[]
  readonly searches: readonly {
    readonly searchId: string
    readonly mapName: string
    readonly query: string
    readonly options: Fields | undefined
  }[]
}

/** Reads the decoded body of a `POST /sync` (SPEC [HS1] to [HS3]). */
export function readHttpSync(input: unknown): Result<ReceivedHttpSync, WireError> {
  if (!isFields(input)) return err({ errorCode: 'INVALID_REQUEST', message: 'The body must be a map.' })
  try {
    return ok({
      clientId: readId(input, 'clientId'),
      clientHlc: readStamp(input['clientHlc'], 'clientHlc'),
      operations:
        input['operations'] === undefined ? undefined : readList(input, 'operations', LIMITS.batchOps, 'batchOps'),
      syncMaps: parts(input, 'syncMaps', (part) => {
        const { lastSyncTimestamp } = part
        return { mapName: readMapName(part), lastSyncTimestamp: readMoment(lastSyncTimestamp) }
      }),
      queries: parts(input, 'queries', (part) => {
        const { filter, predicate, sort, cursor } = part
        if (filter !== undefined && !isFields(filter)) refuse('VALIDATION_ERROR', 'filter', 'must be a map')
        return {
          queryId: readId(part, 'queryId'),
          mapName: readMapName(part),
          limit: readCount(part, 'limit'),
          offset: readCount(part, 'offset') ?? 0,
          query: { where: filter, predicate, sort, cursor },
        }
      }),
      searches: parts(input, 'searches', (part) => {
        const { options } = part
        if (options !== undefined && !isFields(options)) refuse('VALIDATION_ERROR', 'options', 'must be a map')
        return {
          // Existing clients call it by the name that SEARCH has for it.
          searchId: readId(part, part['searchId'] === undefined ? 'requestId' : 'searchId'),
          mapName: readMapName(part),
          query: readText(part, 'query'),
          options,
        }
      }),
    })
  } catch (error) {
    if (error instanceof Refusal) return err(error.error)
    throw error
  }
}

function parts<T>(body: Fields, name: string, read: (part: Fields) => T): readonly T[] {
  if (body[name] === undefined) return []
  const list = readList(body, name, LIMITS.httpParts, 'httpParts')
  const parts: T[] = []
  try {
    for (const part of list) {
      if (!isFields(part)) return refuse('VALIDATION_ERROR', '', 'must be a map')
      parts.push(read(part))
    }
    return parts
  } catch (error) {
    throw error instanceof Refusal ? refusalAt(`${name}[${parts.length}]`, error.error) : error
  }
}

/** The same refusal, of what lies at a place of the body. */
function refusalAt(place: string, { errorCode, message, details }: WireError): Refusal {
  const inner = String(details?.['path'])
  const at = inner === '' ? place : `${place}.`
  return new Refusal({ errorCode, message: at + message, details: { ...details, path: at + inner } })
}

/** A moment of the server: a stamp or its milliseconds; `undefined` where there is none. */
export function readMoment(value: unknown): Stamp | number | undefined {
  if (value === undefined) return undefined
  return isFiniteNumber(value) && value >= 0 ? value : readStamp(value, 'lastSyncTimestamp')
}

function readCount(part: Fields, name: string): number | undefined {
  const value = part[name]
  if (value === undefined) return undefined
  if (isCount(value, LIMITS.queryLimit)) return value
  return refuse('VALIDATION_ERROR', name, `must be a whole number from 0 to ${LIMITS.queryLimit}`)
}
