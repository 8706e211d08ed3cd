import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Who members of rooms are to others, across reconnects. An id is public; the secret that goes with it (`resume`) is
 * told to its owner alone, and computed anew when it comes back: nothing is kept of those who left.
 */
export class Identities {
  readonly #key: string
  readonly #newId: () => string

  /** `newId` gives ids that nobody can guess. */
  constructor(newId: () => string) {
    this.#newId = newId
    this.#key = `${newId()}${newId()}`
  }

  /** The id that a secret proves for a user, or a new one. */
  idOf(userId: string, resume: string | undefined): string {
    const [id = '', ...rest] = resume?.split('.') ?? []
    if (resume === undefined || rest.length !== 1) return this.#newId()
    const [given, expected] = [Buffer.from(resume), Buffer.from(this.resumeOf(id, userId))]
    return given.length === expected.length && timingSafeEqual(given, expected) ? id : this.#newId()
  }

  /** The secret by which a user is the same member again. */
  resumeOf(id: string, userId: string): string {
    const proof = createHmac('sha256', this.#key).update(`${id}\n${userId}`).digest('base64url')
    return `${id}.${proof}`
  }
}
