import type { MessageCases } from './cases.ts'

const milk = { key: 't1', value: { text: 'Buy milk' }, score: 0.75, matchedTerms: ['milk'] }
const asked = { mapName: 'todos', query: 'milk' }
const withOptions = (options: object): object => ({ type: 'SEARCH', payload: { requestId: 'r1', ...asked, options } })

/** Messages of the feature search. */
export const search: MessageCases = {
  messages: [
    ['FT1', { type: 'SEARCH', payload: { requestId: 'r1', ...asked } }],
    [
      'FT1 FT2',
      {
        type: 'SEARCH',
        payload: {
          requestId: 'r1',
          ...asked,
          options: {
            limit: 10,
            minScore: 0.5,
            boost: { text: 2 },
            fields: ['text', 'note'],
            where: { listId: 'home' },
            prefix: true,
          },
        },
      },
    ],
    ['FT1', { type: 'SEARCH_SUB', payload: { subscriptionId: 's1', ...asked, options: { limit: 3 } } }],
    ['FT1', { type: 'SEARCH_UNSUB', payload: { subscriptionId: 's1' } }],
    ['FT3', { type: 'SEARCH_RESP', payload: { requestId: 'r1', results: [milk], totalCount: 1, version: 42 } }],
    ['FT3', { type: 'SEARCH_RESP', payload: { requestId: 's1', results: [milk], totalCount: 9, more: true } }],
    [
      'FT4',
      {
        type: 'SEARCH_RESP',
        payload: {
          requestId: 'r1',
          results: [],
          totalCount: 0,
          error: "The map 'todos' is not searched: name its fields in search.maps.",
          errorCode: 'NOT_ENABLED',
        },
      },
    ],
    ['FT5', { type: 'SEARCH_UPDATE', payload: { subscriptionId: 's1', ...milk, changeType: 'ENTER' } }],
    [
      'FT5',
      {
        type: 'SEARCH_UPDATE',
        payload: {
          subscriptionId: 's1',
          key: 't1',
          value: null,
          score: 0,
          matchedTerms: [],
          changeType: 'LEAVE',
          totalCount: 0,
          version: 43,
        },
      },
    ],
  ],
  accepted: [
    ['its id beside the payload', 'FT1', { type: 'SEARCH', requestId: 'r1', payload: asked }],
    [
      'flat, with options that nobody knows',
      'FT1',
      { type: 'SEARCH_SUB', subscriptionId: 's1', ...asked, options: { limit: 3, fuzzy: 1 } },
    ],
  ],
  refused: [
    ['SEARCH without an id', 'FT1', { type: 'SEARCH', payload: asked }],
    ['SEARCH_SUB without an id', 'FT1', { type: 'SEARCH_SUB', payload: asked }],
    ['SEARCH_UNSUB without an id', 'FT1', { type: 'SEARCH_UNSUB', payload: {} }],
    ['a query that is no text', 'FT1', { type: 'SEARCH', payload: { requestId: 'r', mapName: 'm', query: 5 } }],
    [
      'a query that is too long',
      'FT1',
      { type: 'SEARCH', payload: { requestId: 'r', mapName: 'm', query: 'x'.repeat(1_025) } },
    ],
    ['options that are a list', 'FT2', withOptions([])],
    ['a limit with a fraction', 'FT2', withOptions({ limit: 1.5 })],
    ['a negative score', 'FT2', withOptions({ minScore: -1 })],
    ['a boost of nothing', 'FT2', withOptions({ boost: { text: 0 } })],
    ['a boost that is a list', 'FT2', withOptions({ boost: [2] })],
    ['no fields', 'FT2', withOptions({ fields: [] })],
    ['too many fields', 'FT2', withOptions({ fields: Array.from({ length: 17 }, (_, i) => `f${i}`) })],
    ['a field that is no text', 'FT2', withOptions({ fields: [5] })],
    ['a where that is a text', 'FT2', withOptions({ where: 'a' })],
    ['a prefix that is a text', 'FT2', withOptions({ prefix: 'yes' })],
  ],
}
