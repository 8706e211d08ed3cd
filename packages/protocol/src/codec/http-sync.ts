import type { Stamp } from '@syncline/core'
import type { HttpQueryResult, HttpSearchResult, HttpSyncResponse, MapDelta } from '../messages/http-sync.ts'
import { ackToJson, writeAck } from './ack.ts'
import type { Encoding } from './fault.ts'
import type { EncodedBody, Frame } from './frame.ts'
import { encodedTexts, writeMsgpack, type MsgpackWriter } from './msgpack-writer.ts'
import { quote, stringify } from './tagged-json.ts'

/** The items of a list, encoded as they become known: a page of records or rows at a time. */
export class EncodedList {
  readonly #encoding: Encoding
  readonly pages: EncodedBody[] = []
  /** Items. */
  length = 0
  /** Their bytes in MessagePack, or their characters in JSON. */
  size = 0

  constructor(encoding: Encoding) {
    this.#encoding = encoding
  }

  /** Adds items at the end. */
  add(items: readonly object[]): void {
    if (items.length === 0) return
    const page = this.#encoding === 'json' ? stringify(items).slice(1, -1) : writeMsgpack((to) => writeAll(to, items))
    this.pages.push(page)
    this.length += items.length
    this.size += page.length
  }
}

type WithList<T, Name extends keyof T> = Omit<T, Name> & { readonly [N in Name]: EncodedList }

/** A delta whose records are encoded. */
export type EncodedDelta = WithList<MapDelta, 'records'>
/** The result of a query whose rows are encoded. */
export type EncodedQueryResult = WithList<HttpQueryResult, 'results'>
/** The result of a search whose rows are encoded. */
export type EncodedSearchResult = WithList<HttpSearchResult, 'results'>

/** A reply to `POST /sync` of which everything that may be long is encoded already. */
export interface EncodedHttpSync extends Pick<HttpSyncResponse, 'serverHlc' | 'errors'> {
  readonly ack: HttpSyncResponse['ack'] | undefined
  readonly deltas: readonly EncodedDelta[]
  readonly queryResults: readonly EncodedQueryResult[]
  readonly searchResults: readonly EncodedSearchResult[]
}

/** The whole reply to a `POST /sync`, put together by hand as every poll is answered by one (SPEC [HS2]). */
export function httpSyncFrame(encoding: Encoding, reply: EncodedHttpSync): Frame {
  return encoding === 'json' ? toJson(reply) : writeMsgpack((writer) => write(writer, reply))
}

function toJson({ serverHlc, ack, deltas, queryResults, searchResults, errors }: EncodedHttpSync): string {
  const ackText = ack === undefined ? '' : `"ack":${ackToJson(ack)},`
  const results = `"queryResults":${listToJson(queryResults, queryToJson)},"searchResults":${listToJson(searchResults, searchToJson)}`
  const errorsText = errors.length === 0 ? '[]' : stringify(errors)
  return `{"serverHlc":${stampToJson(serverHlc)},${ackText}"deltas":${listToJson(deltas, deltaToJson)},${results},"errors":${errorsText}}`
}

function listToJson<T>(list: readonly T[], itemToJson: (item: T) => string): string {
  const [first] = list
  if (first === undefined) return '[]'
  return list.length === 1 ? `[${itemToJson(first)}]` : `[${list.map(itemToJson).join(',')}]`
}

function deltaToJson({ mapName, records, serverSyncTimestamp, more, reset }: EncodedDelta): string {
  const flags = `${more === true ? ',"more":true' : ''}${reset === true ? ',"reset":true' : ''}`
  return `{"mapName":${quote(mapName)},"records":${itemsToJson(records)},"serverSyncTimestamp":${stampToJson(serverSyncTimestamp)}${flags}}`
}

function queryToJson({ queryId, results, hasMore, nextCursor }: EncodedQueryResult): string {
  const next = nextCursor === undefined ? '' : `,"nextCursor":${JSON.stringify(nextCursor)}`
  return `{"queryId":${quote(queryId)},"results":${itemsToJson(results)},"hasMore":${hasMore}${next}}`
}

function searchToJson({ searchId, results, totalCount }: EncodedSearchResult): string {
  return `{"searchId":${quote(searchId)},"results":${itemsToJson(results)},"totalCount":${totalCount}}`
}

function itemsToJson({ pages }: EncodedList): string {
  return `[${pages.join(',')}]`
}

function stampToJson({ millis, counter, nodeId }: Stamp): string {
  return `{"millis":${millis},"counter":${counter},"nodeId":${quote(nodeId)}}`
}

function write(writer: MsgpackWriter, reply: EncodedHttpSync): void {
  const { serverHlc, ack, deltas, queryResults, searchResults, errors } = reply
  writer.mapHead(ack === undefined ? 5 : 6)
  writer.raw(SERVER_HLC)
  writeStamp(writer, serverHlc)
  if (ack !== undefined) {
    writer.raw(ACK)
    writeAck(writer, ack)
  }
  writer.raw(DELTAS)
  writer.listHead(deltas.length)
  for (const delta of deltas) writeDelta(writer, delta)
  writer.raw(QUERY_RESULTS)
  writer.listHead(queryResults.length)
  for (const { results, ...rest } of queryResults) writeResult(writer, rest, results)
  writer.raw(SEARCH_RESULTS)
  writer.listHead(searchResults.length)
  for (const { results, ...rest } of searchResults) writeResult(writer, rest, results)
  writer.raw(ERRORS)
  writer.value(errors)
}

function writeDelta(writer: MsgpackWriter, delta: EncodedDelta): void {
  const { mapName, records, serverSyncTimestamp, more, reset } = delta
  writer.mapHead(3 + (more === true ? 1 : 0) + (reset === true ? 1 : 0))
  writer.raw(MAP_NAME)
  writer.text(mapName)
  writer.raw(RECORDS)
  writeItems(writer, records)
  writer.raw(SERVER_SYNC_TIMESTAMP)
  writeStamp(writer, serverSyncTimestamp)
  if (more === true) writer.raw(MORE)
  if (reset === true) writer.raw(RESET)
}

/** The result of a query or search; what it says beside its rows follows them. */
function writeResult(writer: MsgpackWriter, rest: object, results: EncodedList): void {
  const members = Object.entries(rest).filter(([, value]) => value !== undefined)
  writer.mapHead(1 + members.length)
  writer.text('results')
  writeItems(writer, results)
  for (const [name, value] of members) {
    writer.text(name)
    writer.value(value)
  }
}

function writeItems(writer: MsgpackWriter, { length, pages }: EncodedList): void {
  writer.listHead(length)
  for (const page of pages) writer.raw(page as Uint8Array)
}

function writeAll(writer: MsgpackWriter, items: readonly object[]): void {
  for (const item of items) writer.value(item)
}

function writeStamp(writer: MsgpackWriter, { millis, counter, nodeId }: Stamp): void {
  writer.mapHead(3)
  writer.raw(MILLIS)
  writer.number(millis)
  writer.raw(COUNTER)
  writer.number(counter)
  writer.raw(NODE_ID)
  writer.text(nodeId)
}

// The names that every reply has, encoded once.

const SERVER_HLC = encodedTexts('serverHlc')
const ACK = encodedTexts('ack')
const DELTAS = encodedTexts('deltas')
const QUERY_RESULTS = encodedTexts('queryResults')
const SEARCH_RESULTS = encodedTexts('searchResults')
const ERRORS = encodedTexts('errors')
const MAP_NAME = encodedTexts('mapName')
const RECORDS = encodedTexts('records')
const SERVER_SYNC_TIMESTAMP = encodedTexts('serverSyncTimestamp')
const MORE = flag('more')
const RESET = flag('reset')
const MILLIS = encodedTexts('millis')
const COUNTER = encodedTexts('counter')
const NODE_ID = encodedTexts('nodeId')

function flag(name: string): Uint8Array {
  return writeMsgpack((writer) => {
    writer.text(name)
    writer.boolean(true)
  })
}
