import { isMap, measureValue, type Cancel, type Value, type ValueMap } from '@syncline/core'
import type { RoomMember, RoomState } from '@syncline/protocol/codec'
import type { StandardSchema } from '@syncline/protocol/contract'
import { SynclineError, asSynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import { refuse, toValue, validate } from '../../offline/op-writer.ts'
import { Source } from '../../readable.ts'
import type { Member } from './handle.ts'
import { NOBODY } from './nobody.ts'

/** What a member shows, in canonical encoding. */
const PRESENCE_BYTES = 4_096
/** Least time between two updates: two frames of a display. */
const UPDATE_MS = 33
/** How long the others are shown after the connection is lost. */
const STALE_MS = 2_000

/** What the rooms of one client have in common. */
export interface Self {
  /** This client's id in rooms, once the server has said it, and the secret that goes with it. */
  id: string | undefined
  resume: string | undefined
}

/** One client's side of one room, for all who joined it here. */
export class SharedRoom {
  readonly others: Source<readonly Member<unknown>[]>
  /** Those who joined it here and have not left. */
  uses = 0
  readonly #kernel: Kernel
  readonly #self: Self
  readonly #name: string
  readonly #schema: StandardSchema
  #presence: ValueMap = {}
  #membersById = new Map<string, Member<unknown>>()
  /** The members of the state that is arriving in parts. */
  #arriving: Map<string, Member<unknown>> | undefined
  #isJoined = false
  #isUpdateDue = false
  #sentAt = -Infinity
  #cancelUpdate: Cancel | undefined
  #cancelStale: Cancel | undefined

  constructor(kernel: Kernel, self: Self, name: string, schema: StandardSchema) {
    this.#kernel = kernel
    this.#self = self
    this.#name = name
    this.#schema = schema
    this.others = new Source<readonly Member<unknown>[]>(kernel.turn, () => {
      const others = [...this.#membersById.values()].filter(({ id }) => id !== self.id)
      return others.length === 0 ? NOBODY : others
    })
  }

  /** Shows something else from now on. Throws for what cannot be shown. */
  show(presence: object): void {
    validate(this.#schema, presence)
    const value = toValue(presence)
    if (!isMap(value)) refuse('VALIDATION_ERROR', 'A presence is an object.')
    if ((measureValue(value) as number) > PRESENCE_BYTES) {
      refuse('TOO_LARGE', `A presence has at most ${PRESENCE_BYTES} bytes.`)
    }
    this.#presence = value
    if (this.#isUpdateDue || !this.#isJoined) return
    this.#isUpdateDue = true
    const { env, turn } = this.#kernel
    const waitMs = this.#sentAt + UPDATE_MS - env.monotonic()
    if (waitMs <= 0) turn.schedule(this.#update)
    else this.#cancelUpdate = env.after(waitMs, this.#update)
  }

  /** Changes some of what is shown. */
  change(changes: object): void {
    this.show({ ...this.#presence, ...changes })
  }

  /** Joins, if there is a session. */
  join(): void {
    this.#cancelStale?.()
    if (this.#isJoined || !this.#kernel.isOnline) return
    this.#isJoined = true
    this.#sentAt = this.#kernel.env.monotonic()
    const { resume } = this.#self
    const payload = { room: this.#name, presence: this.#presence, ...(resume === undefined ? {} : { resume }) }
    this.#kernel.send({ type: 'ROOM_JOIN', payload }, (error) => {
      // The next session asks again.
      this.#isJoined = false
      this.#kernel.report(error)
    })
  }

  /** The session is over. */
  offline(): void {
    this.#end()
    this.#cancelStale = this.#kernel.env.after(STALE_MS, () => this.#forget())
  }

  /** Leaves, and shows nobody from now on. */
  leave(): void {
    if (this.#isJoined) this.#kernel.send({ type: 'ROOM_LEAVE', payload: { room: this.#name } })
    this.#end()
    this.#cancelStale?.()
    this.#forget()
  }

  /** Takes what the server says. */
  take({ members, left = [], full, more, self }: RoomState['payload']): void {
    if (self !== undefined) Object.assign(this.#self, self)
    if (full === true) this.#arriving = new Map()
    const into = this.#arriving ?? this.#membersById
    for (const member of members) {
      const read = this.#read(member)
      if (read === undefined) into.delete(member.id)
      else into.set(member.id, read)
    }
    for (const id of left) into.delete(id)
    if (this.#arriving !== undefined) {
      // Until all of it is here, what was known is shown.
      if (more === true) return
      this.#membersById = this.#arriving
      this.#arriving = undefined
    }
    this.others.changed()
  }

  /** What the schema makes of what a member shows; undefined for what does not fit it. */
  #read({ id, userId, presence, state }: RoomMember): Member<unknown> | undefined {
    try {
      return { id, userId, presence: validate(this.#schema, presence), state }
    } catch (error) {
      const { code, message, details } = asSynclineError(error)
      const text = `Member '${id}' of room '${this.#name}' is not shown: ${message}`
      this.#kernel.report(new SynclineError(code, text, { details, cause: error }))
      return undefined
    }
  }

  readonly #update = (): void => {
    this.#isUpdateDue = false
    if (!this.#isJoined) return
    this.#sentAt = this.#kernel.env.monotonic()
    const presence: Value = this.#presence
    this.#kernel.send({ type: 'ROOM_UPDATE', payload: { room: this.#name, presence } })
  }

  #end(): void {
    this.#isJoined = false
    this.#isUpdateDue = false
    this.#arriving = undefined
    this.#cancelUpdate?.()
  }

  #forget(): void {
    this.#membersById = new Map()
    this.others.changed()
  }
}
