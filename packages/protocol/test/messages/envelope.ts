import type { MessageCases } from './cases.ts'

/** What is refused of the envelope of any message. */
export const envelope: MessageCases = {
  messages: [],
  accepted: [
    ['unknown members', 'FR12', { type: 'PING', timestamp: 1, later: { a: [1] }, mapName: 5 }],
    ['a request id of 128 units', 'FR13', { type: 'PING', timestamp: 1, requestId: 'r'.repeat(128) }],
    ['a payload goes before what stands beside it', 'FR12', { type: 'PING', timestamp: 1, payload: { timestamp: 2 } }],
  ],
  refused: [
    ['a list', 'FR11', []],
    ['a text', 'FR11', 'PING'],
    ['a number', 'FR11', 7],
    ['null', 'FR11', null],
    ['a type that is a number', 'FR11', { type: 5 }],
    ['no type', 'FR11', { payload: {} }],
    ['a payload that is no map', 'FR12', { type: 'PING', payload: 5 }],
    ['a request id that is a number', 'FR13', { type: 'PING', timestamp: 1, requestId: 5 }],
    ['an empty request id', 'FR13', { type: 'PING', timestamp: 1, requestId: '' }],
    ['a request id of 129 units', 'FR13', { type: 'PING', timestamp: 1, requestId: 'r'.repeat(129) }],
    ['a payload that is a list', 'FR12', { type: 'PING', payload: [] }],
    ['a type that does not exist', 'FR14', { type: 'NOPE' }],
    ['a type in lower case', 'FR14', { type: 'ping', timestamp: 1 }],
    ['a type that is only for servers', 'FR14', { type: 'PONG', timestamp: 1, serverTime: 1 }],
    ['a type with the name of a method', 'FR14', { type: 'toString' }],
    ['a type of existing clients that is not offered', 'FR14', { type: 'ENTRY_PROCESS', requestId: 'r' }],
  ],
}
