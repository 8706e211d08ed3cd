import type { Session } from '../../sessions/session.ts'

/** A reply that has its place in the order of a session's ops, and may come later than others. */
interface Place {
  lastId: string
  isAnswered: boolean
}

/** What `lastId` says before any op was answered: existing clients compare it as a number. */
const NONE = '0'

/**
 * Works out `lastId`: existing clients take every op up to it as acknowledged, so it never passes one that waits for
 * storage. Sessions in which nothing waits cost nothing here.
 */
export class AckOrder {
  readonly #waiting = new WeakMap<Session, { answered: string; places: Place[] }>()

  /** `lastId` of a reply that leaves now. */
  now(session: Session, lastId: string): string {
    const order = this.#waiting.get(session)
    if (order === undefined) return lastId
    const latest = order.places.at(-1)
    if (latest?.isAnswered === true) latest.lastId = lastId
    else order.places.push({ lastId, isAnswered: true })
    return order.answered
  }

  /** Takes a place for a reply that comes later. The function that it returns answers its `lastId` then. */
  later(session: Session, lastId: string): () => string {
    let order = this.#waiting.get(session)
    if (order === undefined) this.#waiting.set(session, (order = { answered: NONE, places: [] }))
    const { places } = order
    const place: Place = { lastId, isAnswered: false }
    places.push(place)
    const settled = order
    return () => {
      place.isAnswered = true
      while (places[0]?.isAnswered === true) settled.answered = (places.shift() as Place).lastId
      if (places.length === 0) this.#waiting.delete(session)
      return settled.answered
    }
  }
}
