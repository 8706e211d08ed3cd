import type { JournalEntry } from '../../src/messages/journal.ts'
import type { MessageCases } from './cases.ts'
import { later, stamp } from './examples.ts'

const written: JournalEntry = {
  sequence: '41',
  type: 'PUT',
  mapName: 'todos',
  key: 't1',
  value: { text: 'Milk' },
  timestamp: stamp,
  nodeId: 'client-1',
  metadata: { userId: 'ada' },
}
const removed: JournalEntry = {
  sequence: '42',
  type: 'DELETE',
  mapName: 'todos',
  key: 't1',
  previousValue: { text: 'Milk' },
  timestamp: later,
  nodeId: 'client-2',
  metadata: { userId: 'bob' },
}

/** Messages of the feature journal. */
export const journal: MessageCases = {
  messages: [
    ['JO1', { type: 'JOURNAL_SUBSCRIBE', requestId: 'j1' }],
    [
      'JO1 JO3',
      {
        type: 'JOURNAL_SUBSCRIBE',
        requestId: 'j1',
        fromSequence: '41',
        epoch: 'db-1',
        mapName: 'todos',
        types: ['PUT', 'UPDATE', 'DELETE'],
      },
    ],
    ['JO1', { type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'j1' }],
    ['JO2', { type: 'JOURNAL_READ', requestId: 'r1', fromSequence: '0' }],
    [
      'JO2',
      {
        type: 'JOURNAL_READ',
        requestId: 'r1',
        fromSequence: '42',
        epoch: 'db-1',
        limit: 100,
        mapName: 'todos',
        key: 't1',
        newestFirst: true,
      },
    ],
    ['JO4', { type: 'JOURNAL_EVENT', event: written, epoch: 'db-1', subscriptionIds: ['j1', 'j2'] }],
    [
      'JO2 JO4',
      {
        type: 'JOURNAL_READ_RESPONSE',
        requestId: 'r1',
        events: [written, { ...written, sequence: '43', type: 'UPDATE', previousValue: { text: 'Mil' } }, removed],
        hasMore: false,
        epoch: 'db-1',
        nextSequence: '44',
      },
    ],
  ],
  accepted: [['wrapped', 'JO2', { type: 'JOURNAL_READ', payload: { requestId: 'r1', fromSequence: '0' } }]],
  refused: [
    ['a subscription without an id', 'JO1', { type: 'JOURNAL_SUBSCRIBE' }],
    ['an end of nothing', 'JO1', { type: 'JOURNAL_UNSUBSCRIBE' }],
    ['a page without an id', 'JO2', { type: 'JOURNAL_READ', fromSequence: '0' }],
    ['a page from nowhere', 'JO2', { type: 'JOURNAL_READ', requestId: 'r' }],
    ['a sequence that is a number', 'JO3', { type: 'JOURNAL_READ', requestId: 'r', fromSequence: 5 }],
    ['a negative sequence', 'JO3', { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '-5' }],
    ['a sequence beyond all', 'JO3', { type: 'JOURNAL_SUBSCRIBE', requestId: 'r', fromSequence: '9007199254740992' }],
    ['an epoch that is a number', 'JO3', { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '5', epoch: 5 }],
    ['a type that is none', 'JO1', { type: 'JOURNAL_SUBSCRIBE', requestId: 'r', types: ['PATCH'] }],
    ['types that are a text', 'JO1', { type: 'JOURNAL_SUBSCRIBE', requestId: 'r', types: 'PUT' }],
    ['a limit of nothing', 'JO2', { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0', limit: 0 }],
    ['a limit of 101', 'JO2', { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0', limit: 101 }],
    ['a key without a map', 'JO2', { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0', key: 'k' }],
    ['an order that is a text', 'JO2', { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0', newestFirst: 'yes' }],
  ],
}
