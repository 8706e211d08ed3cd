import type { MessageCases } from './cases.ts'

/** Messages of the feature topics. */
export const topics: MessageCases = {
  messages: [
    ['TO1', { type: 'TOPIC_SUB', payload: { topic: 'chat' }, requestId: 'r4' }],
    ['TO1', { type: 'TOPIC_SUB', payload: { topic: 'a-b_c.d:e/F9' } }],
    ['TO1', { type: 'TOPIC_UNSUB', payload: { topic: 'chat' } }],
    ['TO2', { type: 'TOPIC_PUB', payload: { topic: 'chat', data: { msg: 'hello' } } }],
    ['TO2', { type: 'TOPIC_PUB', payload: { topic: 'chat', data: null } }],
    ['TO4', { type: 'TOPIC_PUB', payload: { topic: 'room:board:b1:emoji', data: '!' } }],
    [
      'TO2',
      {
        type: 'TOPIC_MESSAGE',
        payload: { topic: 'chat', data: { msg: 'hello' }, publisherId: 'client-2', timestamp: 1_678_900_000 },
      },
    ],
    ['TO3', { type: 'TOPIC_DROPPED', payload: { topic: 'chat', dropped: 12 } }],
  ],
  refused: [
    ['a topic without a name', 'TO1', { type: 'TOPIC_SUB', payload: { topic: '' } }],
    ['a topic whose name is no text', 'TO1', { type: 'TOPIC_SUB', payload: { topic: 5 } }],
    ['a topic with a space in its name', 'TO1', { type: 'TOPIC_SUB', payload: { topic: 'the chat' } }],
    ['a topic of 257 characters', 'TO1', { type: 'TOPIC_UNSUB', payload: { topic: 'x'.repeat(257) } }],
    ['a topic of a room without a name', 'TO4', { type: 'TOPIC_SUB', payload: { topic: 'room:b1' } }],
    ['a publication without a topic', 'TO2', { type: 'TOPIC_PUB', payload: { data: 1 } }],
    ['a publication of nothing', 'TO2', { type: 'TOPIC_PUB', payload: { topic: 'chat' } }],
    ['a publication of U+0000', 'TO2', { type: 'TOPIC_PUB', payload: { topic: 'chat', data: 'a\0b' } }],
  ],
}
