import type { MessageCases } from './cases.ts'

/** Messages of the feature rooms. */
export const rooms: MessageCases = {
  messages: [
    ['RO2', { type: 'ROOM_JOIN', payload: { room: 'board:b1', presence: { name: 'Ada', cursor: null } } }],
    ['RO5', { type: 'ROOM_JOIN', payload: { room: 'board:b1', presence: {}, resume: 'm1.c2VjcmV0' }, requestId: 'r5' }],
    ['RO4', { type: 'ROOM_UPDATE', payload: { room: 'board:b1', presence: { name: 'Ada', cursor: { x: 1, y: 2 } } } }],
    ['RO6', { type: 'ROOM_LEAVE', payload: { room: 'board:b1' } }],
    [
      'RO3 RO5',
      {
        type: 'ROOM_STATE',
        payload: {
          room: 'board:b1',
          members: [{ id: 'm1', userId: 'ada', presence: { name: 'Ada', cursor: null }, state: 'active' }],
          full: true,
          more: true,
          self: { id: 'm1', resume: 'm1.c2VjcmV0' },
        },
      },
    ],
    [
      'RO4 RO6',
      {
        type: 'ROOM_STATE',
        payload: {
          room: 'board:b1',
          members: [{ id: 'm2', userId: 'bob', presence: {}, state: 'away' }],
          left: ['m3'],
        },
      },
    ],
  ],
  refused: [
    ['no room', 'RO1', { type: 'ROOM_JOIN', payload: { presence: {} } }],
    ['a room beyond ASCII', 'RO1', { type: 'ROOM_LEAVE', payload: { room: 'büro' } }],
    ['a room of 129 characters', 'RO1', { type: 'ROOM_LEAVE', payload: { room: 'x'.repeat(129) } }],
    ['no presence', 'RO1', { type: 'ROOM_JOIN', payload: { room: 'r' } }],
    ['a presence that is no map', 'RO1', { type: 'ROOM_UPDATE', payload: { room: 'r', presence: 'here' } }],
    [
      'a presence of more than 4,096 bytes',
      'RO1',
      { type: 'ROOM_JOIN', payload: { room: 'r', presence: { text: 'x'.repeat(4_096) } } },
    ],
    ['an empty resume', 'RO5', { type: 'ROOM_JOIN', payload: { room: 'r', presence: {}, resume: '' } }],
  ],
}
