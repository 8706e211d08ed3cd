import type { MessageCases } from './cases.ts'

const ask = { requestId: 'r4', name: 'invoice:42' }
const request = (members: object): object => ({ type: 'LOCK_REQUEST', payload: { ...ask, ...members } })
const release = (members: object): object => ({ type: 'LOCK_RELEASE', payload: members })

/** Messages of the feature locks. */
export const locks: MessageCases = {
  messages: [
    ['LK1 LK2', { type: 'LOCK_REQUEST', requestId: 'r4', payload: { ...ask, ttl: 5_000 } }],
    ['LK1 LK7', { type: 'LOCK_REQUEST', requestId: 'r4', payload: { ...ask, ttl: 0.5, waitMs: 2_000 } }],
    ['LK4', { type: 'LOCK_REQUEST', requestId: 'r4', payload: { ...ask, fencingToken: 1_706_000_000_000_001 } }],
    ['LK1', { type: 'LOCK_REQUEST', requestId: 'r4', payload: { ...ask, name: 'é'.repeat(128) } }],
    ['LK6', { type: 'LOCK_RELEASE', payload: { name: 'invoice:42', fencingToken: 101 } }],
    ['LK6', { type: 'LOCK_RELEASE', requestId: 'r4', payload: ask }],
    ['LK1 LK2', { type: 'LOCK_GRANTED', payload: { ...ask, fencingToken: 101, ttl: 5_000 } }],
    [
      'LK8',
      { type: 'LOCK_GRANTED', requestId: 'r4', payload: { ...ask, fencingToken: 1_706_000_000_000_001, ttl: 0.5 } },
    ],
    ['LK6', { type: 'LOCK_RELEASED', payload: { ...ask, success: true } }],
    [
      'LK6',
      {
        type: 'LOCK_RELEASED',
        payload: {
          name: 'invoice:42',
          success: false,
          error: 'This connection does not hold it.',
          errorCode: 'STALE_TOKEN',
          code: 409,
          details: { name: 'invoice:42' },
        },
      },
    ],
  ],
  accepted: [
    ['the id in the payload alone', 'LK1', request({ ttl: 5_000 })],
    ['the id beside the payload alone', 'LK1', { type: 'LOCK_REQUEST', requestId: 'r4', payload: { name: 'n' } }],
    ['a ttl of null, which is refused later', 'LK2', request({ ttl: null })],
    ['a ttl of 0, which is refused later', 'LK2', request({ ttl: 0 })],
    ['a release with an id and a token', 'LK6', release({ ...ask, fencingToken: 101 })],
  ],
  refused: [
    ['a request without an id', 'LK1', { type: 'LOCK_REQUEST', payload: { name: 'n' } }],
    ['a request whose id is a number', 'LK1', request({ requestId: 5 })],
    ['no lock', 'LK1', request({ name: undefined })],
    ['a lock without a name', 'LK1', request({ name: '' })],
    ['a lock whose name has 257 bytes', 'LK1', request({ name: 'é'.repeat(128) + 'x' })],
    ['a lock whose name has U+0000', 'LK1', request({ name: 'a\0' })],
    ['a lease of a text', 'LK1', request({ ttl: '5 s' })],
    ['a negative wait', 'LK1', request({ waitMs: -1 })],
    ['a wait of a text', 'LK1', request({ waitMs: 'for ever' })],
    ['a token of 0', 'LK1', request({ fencingToken: 0 })],
    ['a token with a fraction', 'LK1', request({ fencingToken: 1.5 })],
    ['a release of no lock', 'LK6', release({ requestId: 'r' })],
    ['a release of neither a request nor a token', 'LK6', release({ name: 'n' })],
    ['a release whose token is a text', 'LK6', release({ name: 'n', fencingToken: '101' })],
  ],
}
