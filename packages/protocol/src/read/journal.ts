import { LIMITS } from '../limits.ts'
import type {
  JournalEventType,
  JournalFilter,
  JournalRead,
  JournalSubscribe,
  JournalUnsubscribe,
} from '../messages/journal.ts'
import { isCount, isId, mustBeId, readId, readMapName, readName, type Fields } from './fields.ts'
import { refuse } from './refusal.ts'

const TYPES: readonly unknown[] = ['PUT', 'UPDATE', 'DELETE']
const SEQUENCE = /^\d{1,16}$/

/** Reads a JOURNAL_SUBSCRIBE. */
export function readJournalSubscribe(fields: Fields, envelopeId: string | undefined): JournalSubscribe {
  return {
    type: 'JOURNAL_SUBSCRIBE',
    requestId: readRequestId(fields, envelopeId),
    ...(fields['fromSequence'] === undefined ? {} : { fromSequence: readSequence(fields) }),
    ...readEpoch(fields),
    ...readFilter(fields),
  }
}

/** Reads a JOURNAL_UNSUBSCRIBE. */
export function readJournalUnsubscribe(fields: Fields): JournalUnsubscribe {
  return { type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: readId(fields, 'subscriptionId') }
}

/** Reads a JOURNAL_READ. */
export function readJournalRead(fields: Fields, envelopeId: string | undefined): JournalRead {
  const { limit, key, newestFirst } = fields
  if (limit !== undefined && !(isCount(limit, LIMITS.journalPage) && limit > 0)) {
    refuse('VALIDATION_ERROR', 'limit', `must be a whole number from 1 to ${LIMITS.journalPage}`)
  }
  if (key !== undefined && fields['mapName'] === undefined) {
    refuse('VALIDATION_ERROR', 'key', 'stands only beside a mapName')
  }
  if (newestFirst !== undefined && typeof newestFirst !== 'boolean') {
    refuse('VALIDATION_ERROR', 'newestFirst', 'must be true or false')
  }
  return {
    type: 'JOURNAL_READ',
    requestId: readRequestId(fields, envelopeId),
    fromSequence: readSequence(fields),
    ...readEpoch(fields),
    ...readFilter(fields),
    ...(limit === undefined ? {} : { limit }),
    ...(key === undefined ? {} : { key: readName(key, 'key', LIMITS.keyBytes) }),
    ...(newestFirst === undefined ? {} : { newestFirst }),
  }
}

function readRequestId(fields: Fields, envelopeId: string | undefined): string {
  return fields['requestId'] === undefined && envelopeId !== undefined ? envelopeId : readId(fields, 'requestId')
}

function readSequence(fields: Fields): string {
  const { fromSequence } = fields
  return typeof fromSequence === 'string' && SEQUENCE.test(fromSequence) && Number.isSafeInteger(Number(fromSequence))
    ? fromSequence
    : refuse('VALIDATION_ERROR', 'fromSequence', 'must be a text of at most 16 decimal digits')
}

function readEpoch({ epoch }: Fields): { readonly epoch?: string } {
  if (epoch === undefined) return {}
  return isId(epoch) ? { epoch } : refuse('VALIDATION_ERROR', 'epoch', mustBeId())
}

function readFilter(fields: Fields): JournalFilter {
  const { types } = fields
  const isList = types === undefined || (Array.isArray(types) && types.length <= TYPES.length)
  if (!isList || !(types ?? []).every((type: unknown) => TYPES.includes(type))) {
    refuse('VALIDATION_ERROR', 'types', 'must be a list of PUT, UPDATE and DELETE')
  }
  return {
    ...(fields['mapName'] === undefined ? {} : { mapName: readMapName(fields) }),
    ...(types === undefined ? {} : { types: types as readonly JournalEventType[] }),
  }
}
