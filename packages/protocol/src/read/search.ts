import { measureValue } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { SearchOptions, Search, SearchSub, SearchUnsub } from '../messages/search.ts'
import { isCount, isFields, isFiniteNumber, readId, readMapName, readName, readText, type Fields } from './fields.ts'
import { refuse } from './refusal.ts'

/** Reads a SEARCH. Its `requestId` may stand in the payload or beside it. */
export function readSearch(fields: Fields, envelopeId: string | undefined): Search {
  const requestId =
    fields['requestId'] === undefined && envelopeId !== undefined ? envelopeId : readId(fields, 'requestId')
  return { type: 'SEARCH', payload: { requestId, ...readAsked(fields) } }
}

/** Reads a SEARCH_SUB. */
export function readSearchSub(fields: Fields): SearchSub {
  return { type: 'SEARCH_SUB', payload: { subscriptionId: readId(fields, 'subscriptionId'), ...readAsked(fields) } }
}

/** Reads a SEARCH_UNSUB. */
export function readSearchUnsub(fields: Fields): SearchUnsub {
  return { type: 'SEARCH_UNSUB', payload: { subscriptionId: readId(fields, 'subscriptionId') } }
}

function readAsked(fields: Fields): Omit<Search['payload'], 'requestId'> {
  const mapName = readMapName(fields)
  const query = readText(fields, 'query')
  if (query.length > LIMITS.searchQueryLength) {
    refuse('TOO_LARGE', 'query', `must have at most ${LIMITS.searchQueryLength} characters`, 'searchQueryLength')
  }
  const { options } = fields
  if (options === undefined) return { mapName, query }
  if (!isFields(options)) refuse('VALIDATION_ERROR', 'options', 'must be a map')
  return { mapName, query, options: readSearchOptions(options) }
}

/** The outline of a search's options; which fields there are and what `where` says is judged where it is searched. */
export function readSearchOptions({ limit, minScore, boost, fields, where, prefix }: Fields): SearchOptions {
  if (limit !== undefined && !isCount(limit)) {
    refuse('VALIDATION_ERROR', 'options.limit', 'must be a whole number that is not negative')
  }
  if (minScore !== undefined && !(isFiniteNumber(minScore) && minScore >= 0)) {
    refuse('VALIDATION_ERROR', 'options.minScore', 'must be a number that is not negative')
  }
  if (prefix !== undefined && typeof prefix !== 'boolean') {
    refuse('VALIDATION_ERROR', 'options.prefix', 'must be true or false')
  }
  if (where !== undefined && !isFields(where)) refuse('VALIDATION_ERROR', 'options.where', 'must be a map')
  const bytes = measureValue(where ?? null, LIMITS.frameDepth)
  if (typeof bytes === 'number' && bytes > LIMITS.queryBytes) {
    refuse('TOO_LARGE', 'options.where', `must have at most ${LIMITS.queryBytes} bytes`, 'queryBytes')
  }
  return {
    ...(limit === undefined ? {} : { limit }),
    ...(minScore === undefined ? {} : { minScore }),
    ...(boost === undefined ? {} : { boost: readBoost(boost) }),
    ...(fields === undefined ? {} : { fields: readSearchedFields(fields) }),
    ...(where === undefined ? {} : { where }),
    ...(prefix === undefined ? {} : { prefix }),
  }
}

function readBoost(boost: unknown): Readonly<Record<string, number>> {
  if (!isFields(boost)) refuse('VALIDATION_ERROR', 'options.boost', 'must be a map')
  const weights = Object.values(boost)
  if (weights.length > LIMITS.searchFields) tooManyFields('options.boost')
  if (!weights.every((weight) => isFiniteNumber(weight) && weight > 0)) {
    refuse('VALIDATION_ERROR', 'options.boost', 'must hold a number above 0 for each field')
  }
  return boost as Readonly<Record<string, number>>
}

function readSearchedFields(fields: unknown): readonly string[] {
  const path = 'options.fields'
  if (!Array.isArray(fields) || fields.length === 0) refuse('VALIDATION_ERROR', path, 'must be a list of field names')
  if (fields.length > LIMITS.searchFields) tooManyFields(path)
  return (fields as unknown[]).map((field, i) => readName(field, `${path}[${i}]`, LIMITS.fieldNameBytes))
}

function tooManyFields(path: string): never {
  return refuse('TOO_LARGE', path, `must name at most ${LIMITS.searchFields} fields`, 'searchFields')
}
