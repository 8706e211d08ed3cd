import { ROOM_NAME, roomShapes, topicShapes } from '@syncline/protocol/codec'
import type { AnyRoomDef } from '@syncline/protocol/contract'
import { anotherUser, clientClosed } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import { refuse } from '../../offline/op-writer.ts'
import { check, dispose } from '../../readable.ts'
import { TopicHandle, topicHub } from '../topics/hub.ts'
import type { AnyRoom, AnyRooms } from './handle.ts'
import { SharedRoom, type Self } from './shared-room.ts'

/** Rooms of the kinds that the contract names: `rooms.board.join('b1', …)` is in the room `board:b1`. */
export function start(kernel: Kernel): LateFeature<AnyRoomDef, AnyRooms> {
  const hub = topicHub(kernel)
  const self: Self = { id: undefined, resume: undefined }
  const roomsByName = new Map<string, SharedRoom>()
  const kinds = new Map<string, AnyRooms>()

  kernel.turn.onClose(() => {
    for (const room of roomsByName.values()) room.leave()
    roomsByName.clear()
  })

  function join(name: string, { presence: schema, topics }: AnyRoomDef, presence: object): AnyRoom {
    if (kernel.turn.isClosed) throw clientClosed()
    if (!ROOM_NAME.test(name)) refuse('BAD_KEY', `The name of a room, '${name}' here, fits ${ROOM_NAME}.`)
    const handles = Object.entries(topics).map(([topic, topicSchema]) => {
      return [topic, new TopicHandle(kernel, `room:${name}:${topic}`, topicSchema)] as const
    })
    const shared = roomsByName.get(name) ?? new SharedRoom(kernel, self, name, schema)
    shared.show(presence)
    roomsByName.set(name, shared)
    shared.uses++
    shared.join()
    let hasLeft = false
    const leave = (): void => {
      if (hasLeft) return
      hasLeft = true
      if (--shared.uses > 0 || roomsByName.get(name) !== shared) return
      roomsByName.delete(name)
      shared.leave()
    }
    return {
      self: {
        update(changes) {
          if (hasLeft) refuse('CLOSED', 'The room was left.')
          if (roomsByName.get(name) !== shared) throw kernel.turn.isClosed ? clientClosed() : anotherUser()
          shared.change(changes)
        },
      },
      others: shared.others,
      topics: Object.fromEntries(handles),
      leave,
      [dispose]: leave,
    }
  }

  return {
    handlers: { ...hub.handlers, ROOM_STATE: ({ payload }) => roomsByName.get(payload.room)?.take(payload) },
    shapes: { flat: {}, payload: { ...topicShapes.payload, ...roomShapes.payload } },
    online() {
      // First of all: what this client publishes goes out under its id in rooms.
      for (const room of roomsByName.values()) room.join()
      hub.online()
    },
    offline() {
      for (const room of roomsByName.values()) room.offline()
      hub.offline()
    },
    /** What one user shows is not shown in the name of another. */
    userChanged() {
      for (const room of roomsByName.values()) room.leave()
      roomsByName.clear()
      self.id = undefined
      self.resume = undefined
      hub.userChanged()
    },
    open(kind, definition) {
      const found = kinds.get(kind) ?? {
        join(id, options) {
          check(id, 'string', 'The id of a room')
          return join(`${kind}:${id}`, definition, { ...options }.presence)
        },
      }
      kinds.set(kind, found)
      return found
    },
  }
}
