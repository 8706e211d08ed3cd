import type { MessageCases } from './cases.ts'

const counts = { p: { 'client-1': 3, 'client-2': 1 }, n: { 'client-2': 5 } }
const both = { ...counts, positive: counts.p, negative: counts.n }
const sync = (state: unknown) => ({ type: 'COUNTER_SYNC', payload: { name: 'votes', state } })

/** Messages of the feature counters. */
export const counters: MessageCases = {
  messages: [
    ['CN4', { type: 'COUNTER_REQUEST', payload: { name: 'votes' }, requestId: 'r5' }],
    ['CN5', { type: 'COUNTER_SYNC', payload: { name: 'votes', state: counts } }],
    ['CN4', { type: 'COUNTER_RESPONSE', payload: { name: 'votes', state: both, more: true }, requestId: 'r5' }],
    ['CN6', { type: 'COUNTER_UPDATE', payload: { name: 'votes', state: both } }],
  ],
  accepted: [
    ['the shape of existing clients', 'CN5', sync({ positive: counts.p, negative: counts.n })],
    ['both shapes, which differ', 'CN5', sync({ ...counts, positive: { 'client-1': 4 } })],
    ['nothing taken away', 'CN5', sync({ p: { 'client-1': 1 } })],
  ],
  refused: [
    ['a counter without a name', 'CN4', { type: 'COUNTER_REQUEST', payload: {} }],
    ['the empty name', 'CN4', { type: 'COUNTER_REQUEST', payload: { name: '' } }],
    ['a name of 121 bytes', 'CN4', { type: 'COUNTER_REQUEST', payload: { name: 'x'.repeat(121) } }],
    ['no state', 'CN5', sync(undefined)],
    ['a state that is a list', 'CN5', sync([])],
    ['a state of neither shape', 'CN5', sync({ increments: {}, decrements: {} })],
    ['counts in a list', 'CN5', sync({ p: [1], n: {} })],
    ['a negative count', 'CN5', sync({ p: { a: -1 }, n: {} })],
    ['a count with a fraction', 'CN5', sync({ p: { a: 0.5 }, n: {} })],
    ['a count that is not exact', 'CN5', sync({ p: {}, n: { a: 1e300 } })],
    ['a count that is a text', 'CN5', sync({ p: { a: '1' }, n: {} })],
    ['an empty node id', 'CN5', sync({ p: { '': 1 }, n: {} })],
    ['a reserved node id', 'CN5', sync({ p: { constructor: 1 }, n: {} })],
  ],
}
