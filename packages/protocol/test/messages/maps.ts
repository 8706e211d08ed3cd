import type { Value } from '@syncline/core'
import type { MessageCases } from './cases.ts'
import { add, addTag, fielded, later, op, orRecord, stamp } from './examples.ts'

const event = { mapName: 'todos', eventType: 'PUT', key: 't1', record: { ...fielded, version: 3 }, seq: 42 } as const

const bad = (members: object, opType = 'PUT') => ({
  type: 'CLIENT_OP',
  payload: { ...op, opType, record: { ...op.record, ...members } },
})
const removal = { id: 'op-2', mapName: 'tags', key: 't1', opType: 'OR_REMOVE', orTag: addTag } as const
const badItem = (members: object) => ({
  type: 'CLIENT_OP',
  payload: { ...add, orRecord: { ...orRecord, ...members } },
})
/** Messages of the feature maps. */
export const maps: MessageCases = {
  messages: [
    ['OP1', { type: 'CLIENT_OP', payload: op }],
    [
      'OP6',
      {
        type: 'CLIENT_OP',
        payload: { ...op, opType: 'REMOVE', record: { value: null, timestamp: later } },
        requestId: 'r1',
      },
    ],
    [
      'OP7',
      {
        type: 'CLIENT_OP',
        payload: { ...op, opType: 'PATCH', record: { value: { done: true }, timestamp: later, unset: ['due'] } },
      },
    ],
    [
      'OP8 OP9',
      {
        type: 'CLIENT_OP',
        payload: { ...op, record: { ...op.record, ttlMs: 60_000 }, writeConcern: 'PERSISTED', timeout: 5_000 },
      },
    ],
    [
      'OP10',
      {
        type: 'OP_BATCH',
        payload: { ops: [op, { ...op, id: 'op-2', key: 't2' }], writeConcern: 'APPLIED', timeout: 1_000 },
      },
    ],
    ['OP9', { type: 'CLIENT_OP', payload: { ...op, fence: { name: 'invoice:42', token: 1_706_000_000_000_001 } } }],
    ['OM1 OM2', { type: 'CLIENT_OP', payload: add }],
    [
      'OM2 OM4',
      {
        type: 'OP_BATCH',
        payload: {
          ops: [{ ...add, orRecord: { ...orRecord, ttlMs: 60_000 } }, { ...removal, timestamp: later }, removal],
        },
      },
    ],
    [
      'CN1',
      {
        type: 'CLIENT_OP',
        payload: {
          id: 'op-1',
          mapName: 'counter:votes',
          key: 'client-1',
          opType: 'PUT',
          record: { value: { p: 3, n: 0 }, timestamp: stamp },
        },
      },
    ],
    [
      'OP11',
      {
        type: 'OP_ACK',
        payload: {
          lastId: 'op-2',
          achievedLevel: 'APPLIED',
          results: [
            { opId: 'op-1', success: true, achievedLevel: 'APPLIED', latencyMs: 0.5, seq: 42 },
            { opId: 'op-2', success: true, achievedLevel: 'APPLIED', latencyMs: 1, seq: 41, superseded: true },
            {
              opId: 'op-3',
              success: false,
              achievedLevel: 'APPLIED',
              latencyMs: 1,
              error: 'No policy.',
              errorCode: 'FORBIDDEN',
              details: { map: 'todos' },
            },
          ],
        },
      },
    ],
    [
      'OP12',
      { type: 'OP_REJECTED', payload: { opId: 'op-3', reason: 'No policy.', code: 403, errorCode: 'FORBIDDEN' } },
    ],
    ['EV1', { type: 'SERVER_EVENT', payload: { ...event, cursor: 'c42' } }],
    [
      'EV2',
      {
        type: 'SERVER_BATCH_EVENT',
        payload: {
          mapName: 'todos',
          cursor: 'c43',
          seq: 43,
          events: [
            event,
            { ...event, eventType: 'REMOVE', key: 't2', record: { value: null, timestamp: later }, seq: 43 },
          ],
        },
      },
    ],
    ['EV3', { type: 'SERVER_BATCH_EVENT', payload: { mapName: 'todos', cursor: 'c44', seq: 44, events: [] } }],
    [
      'EV3',
      {
        type: 'SERVER_BATCH_EVENT',
        payload: { mapName: 'todos', cursor: 'c45', seq: 45, prunedThroughSeq: 12, events: [] },
      },
    ],
    ['OM6', { type: 'SERVER_EVENT', payload: { mapName: 'tags', eventType: 'OR_ADD', key: 't1', orRecord, seq: 45 } }],
    [
      'OM6',
      {
        type: 'SERVER_BATCH_EVENT',
        payload: {
          mapName: 'tags',
          events: [
            { mapName: 'tags', eventType: 'OR_ADD', key: 't2', orRecord, seq: 46 },
            { mapName: 'tags', eventType: 'OR_REMOVE', key: 't1', orTag: addTag, seq: 47 },
          ],
        },
      },
    ],
  ],
  accepted: [
    [
      'a removal whose stamp is none',
      'OM4',
      { type: 'CLIENT_OP', payload: { ...removal, timestamp: 5 } },
      { type: 'CLIENT_OP', payload: removal },
    ],
    [
      'an add with the other members that existing clients send',
      'OM2',
      { type: 'CLIENT_OP', payload: { ...add, record: null, orTag: null, timestamp: later, synced: false } },
      { type: 'CLIENT_OP', payload: add },
    ],
    ['an op without opType is a PUT', 'OP3', { type: 'CLIENT_OP', payload: { ...op, opType: undefined } }],
    [
      'a PUT of null is a REMOVE',
      'OP6',
      { type: 'CLIENT_OP', payload: { ...op, record: { value: null, timestamp: stamp } } },
    ],
    [
      'of a REMOVE the stamp counts',
      'OP6',
      { type: 'CLIENT_OP', payload: { ...op, opType: 'REMOVE', record: { value: 5, timestamp: stamp, ttlMs: -1 } } },
    ],
    [
      'a PATCH that only unsets',
      'OP7',
      {
        type: 'CLIENT_OP',
        payload: { ...op, opType: 'PATCH', record: { value: null, timestamp: stamp, unset: ['a'] } },
      },
    ],
    ['an op without an id', 'OP1', { type: 'CLIENT_OP', payload: { ...op, id: undefined } }],
    ['a batch of nothing', 'OP10', { type: 'OP_BATCH', payload: { ops: [] } }],
  ],
  refused: [
    ['an id that is a number', 'OP1', { type: 'CLIENT_OP', payload: { ...op, id: 1 } }],
    ['an empty id', 'OP1', { type: 'CLIENT_OP', payload: { ...op, id: '' } }],
    ['an id of 129 units', 'OP1', { type: 'CLIENT_OP', payload: { ...op, id: 'i'.repeat(129) } }],
    ['no map', 'OP2', { type: 'CLIENT_OP', payload: { ...op, mapName: undefined } }],
    ['the empty map name', 'OP2', { type: 'CLIENT_OP', payload: { ...op, mapName: '' } }],
    ['a map name of 129 bytes', 'OP2', { type: 'CLIENT_OP', payload: { ...op, mapName: 'é'.repeat(64) + 'x' } }],
    ['a map name with U+0000', 'OP2', { type: 'CLIENT_OP', payload: { ...op, mapName: 'a\0' } }],
    ['a key that is a number', 'OP2', { type: 'CLIENT_OP', payload: { ...op, key: 5 } }],
    ['a key with half a surrogate pair', 'OP2', { type: 'CLIENT_OP', payload: { ...op, key: '\udc00' } }],
    ['the empty key', 'OP2', { type: 'CLIENT_OP', payload: { ...op, key: '' } }],
    ['a key of 513 bytes', 'OP2', { type: 'CLIENT_OP', payload: { ...op, key: 'x'.repeat(513) } }],
    ['an unknown operation', 'OP3', { type: 'CLIENT_OP', payload: { ...op, opType: 'UPSERT' } }],
    ['an add without an item', 'OM2', { type: 'CLIENT_OP', payload: { ...op, opType: 'OR_ADD' } }],
    ['a tag that is no stamp', 'OM1', badItem({ tag: 'urgent' })],
    ['a tag with a leading zero', 'OM1', badItem({ tag: '01:0:a' })],
    ['a tag with three colons', 'OM1', badItem({ tag: '1:0:a:b' })],
    ['no tag', 'OM1', badItem({ tag: undefined })],
    [
      'a key and a tag of 513 bytes',
      'OM1',
      { type: 'CLIENT_OP', payload: { ...add, key: 'k'.repeat(512 - addTag.length) } },
    ],
    ['an item of null', 'OM2', badItem({ value: null })],
    ['an item with U+0000', 'OM2', badItem({ value: 'a\0b' })],
    ['an item without a stamp', 'OM2', badItem({ timestamp: undefined })],
    ['an item with a ttl of zero', 'OM2', badItem({ ttlMs: 0 })],
    ['a removal without a tag', 'OM4', { type: 'CLIENT_OP', payload: { ...removal, orTag: undefined } }],
    ['a removal by a value', 'OM4', { type: 'CLIENT_OP', payload: { ...removal, orTag: { label: 'urgent' } } }],
    ['an opType that is a number', 'OP3', { type: 'CLIENT_OP', payload: { ...op, opType: 1 } }],
    ['no record', 'OP4', { type: 'CLIENT_OP', payload: { ...op, record: undefined } }],
    ['no stamp', 'OP4', bad({ timestamp: undefined })],
    ['a stamp that is a text', 'OP4', bad({ timestamp: '1:0:a' })],
    ['a negative stamp', 'OP4', bad({ timestamp: { ...stamp, millis: -1 } })],
    ['a stamp whose counter is too large', 'OP4', bad({ timestamp: { ...stamp, counter: 65_536 } })],
    ['a stamp whose node id has a colon', 'OP4', bad({ timestamp: { ...stamp, nodeId: 'a:b' } })],
    ['a stamp whose node id is too long', 'OP4', bad({ timestamp: { ...stamp, nodeId: 'n'.repeat(129) } })],
    ['a stamp with a fraction', 'OP4', bad({ timestamp: { ...stamp, millis: 0.5 } })],
    ['U+0000', 'OP5', bad({ value: 'a\0b' })],
    ['half a surrogate pair', 'OP5', bad({ value: ['\ud800'] })],
    ['a reserved field name', 'OP5', bad({ value: { constructor: 1 } })],
    ['a value of 33 levels', 'OP5', bad({ value: JSON.parse('['.repeat(33) + ']'.repeat(33)) as Value })],
    ['no value', 'OP5', bad({ value: undefined })],
    ['a PUT with unset', 'OP7', bad({ unset: ['a'] })],
    ['a PATCH of a text', 'OP7', bad({ value: 'x' }, 'PATCH')],
    ['a PATCH that unsets a field twice', 'OP7', bad({ unset: ['a', 'a'] }, 'PATCH')],
    ['a PATCH that unsets a number', 'OP7', bad({ unset: [5] }, 'PATCH')],
    ['a PATCH that unsets a reserved name', 'OP7', bad({ unset: ['__proto__'] }, 'PATCH')],
    ['a PATCH of a name of 513 bytes', 'OP7', bad({ value: { ['x'.repeat(513)]: 1 } }, 'PATCH')],
    ['a PATCH of nothing', 'OP7', bad({ value: {} }, 'PATCH')],
    ['a PATCH with a ttl', 'OP7', bad({ ttlMs: 5 }, 'PATCH')],
    ['a PATCH that sets and unsets a field', 'OP7', bad({ unset: ['text'] }, 'PATCH')],
    ['a ttl of zero', 'OP8', bad({ ttlMs: 0 })],
    ['a negative ttl', 'OP8', bad({ ttlMs: -5 })],
    ['a ttl that is a text', 'OP8', bad({ ttlMs: '5' })],
    ['a timeout of zero', 'OP9', { type: 'CLIENT_OP', payload: { ...op, timeout: 0 } }],
    ['a timeout of more than five minutes', 'OP9', { type: 'CLIENT_OP', payload: { ...op, timeout: 300_001 } }],
    ['an unknown level', 'OP9', { type: 'CLIENT_OP', payload: { ...op, writeConcern: 'DURABLE' } }],
    ['a fence that is a number', 'OP9', { type: 'CLIENT_OP', payload: { ...op, fence: 5 } }],
    ['a fence without a lock', 'OP9', { type: 'CLIENT_OP', payload: { ...op, fence: { name: '', token: 1 } } }],
    ['a fence whose token is 0', 'OP9', { type: 'CLIENT_OP', payload: { ...op, fence: { name: 'n', token: 0 } } }],
    ['a fence without a token', 'OP9', { type: 'CLIENT_OP', payload: { ...op, fence: { name: 'n' } } }],
    ['a batch whose ops are a map', 'OP10', { type: 'OP_BATCH', payload: { ops: {} } }],
    ['a batch of an unknown level', 'OP10', { type: 'OP_BATCH', payload: { ops: [], writeConcern: 'SURE' } }],
    ['a batch without ops', 'OP10', { type: 'OP_BATCH', payload: {} }],
  ],
}
