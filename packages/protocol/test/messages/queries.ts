import type { MessageCases } from './cases.ts'

/** Messages of the feature queries. */
export const queries: MessageCases = {
  messages: [
    [
      'QU1 QU2',
      {
        type: 'QUERY_SUB',
        payload: {
          queryId: 'q1',
          mapName: 'todos',
          query: {
            where: { done: false, n: { $gt: 1 } },
            predicate: { op: 'eq', attribute: 'a', value: 1 },
            sort: { n: 'desc' },
            limit: 50,
            cursor: 'abc',
          },
        },
      },
    ],
    ['QU5', { type: 'QUERY_SUB', payload: { queryId: 'q2', mapName: 'todos', query: {}, fields: ['text', 'done'] } }],
    ['QU1', { type: 'QUERY_UNSUB', payload: { queryId: 'q1' } }],
    [
      'QU1 QU4',
      {
        type: 'QUERY_RESP',
        payload: {
          queryId: 'q1',
          results: [{ key: 't1', value: { text: 'Milk' } }],
          hasMore: true,
          nextCursor: 'def',
          cursorStatus: 'valid',
          more: false,
          version: 42,
        },
      },
    ],
    ['QU3', { type: 'QUERY_UPDATE', payload: { queryId: 'q1', key: 't1', value: null, changeType: 'LEAVE' } }],
    [
      'QU3 QU4',
      {
        type: 'QUERY_UPDATE',
        payload: { queryId: 'q1', key: 't2', value: { text: 'Eggs' }, changeType: 'ENTER', version: 43 },
      },
    ],
  ],
  refused: [
    ['no query id', 'QU1', { type: 'QUERY_SUB', payload: { mapName: 'todos', query: {} } }],
    [
      'fields that are no list',
      'QU5',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: {}, fields: 'text' } },
    ],
    [
      'more than 100 fields',
      'QU5',
      {
        type: 'QUERY_SUB',
        payload: { queryId: 'q', mapName: 'todos', query: {}, fields: Array.from({ length: 101 }, (_, i) => `f${i}`) },
      },
    ],
    ['no query', 'QU2', { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos' } }],
    [
      'a where that is a list',
      'QU2',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { where: [] } } },
    ],
    [
      'a predicate that is a text',
      'QU2',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { predicate: 'a' } } },
    ],
    [
      'a negative limit',
      'QU2',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { limit: -1 } } },
    ],
    [
      'a limit with a fraction',
      'QU2',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { limit: 0.5 } } },
    ],
    [
      'a limit of 100,001',
      'QU2',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { limit: 100_001 } } },
    ],
    [
      'a cursor that is a number',
      'QU2',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { cursor: 5 } } },
    ],
    ['QUERY_UNSUB without its id', 'QU1', { type: 'QUERY_UNSUB', payload: {} }],
    [
      'conditions that are too long',
      'QU2',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'todos', query: { where: { text: 'x'.repeat(65_536) } } },
    ],
    [
      'a sort in no direction',
      'QU2',
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { sort: { a: 'up' } } } },
    ],
  ],
}
