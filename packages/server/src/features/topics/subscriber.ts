import type { ReadView } from '../../inbound/authorize.ts'
import type { Source } from '../../outbound/outbox.ts'
import type { Session } from '../../sessions/session.ts'

/**
 * One session that subscribes to topics. While its socket is too full it keeps a number for each topic and no message;
 * as a source it tells these numbers when there is room.
 */
export class Subscriber implements Source {
  readonly session: Session
  /** By topic, the right to read it. */
  readonly topics = new Map<string, ReadView>()
  /** By topic, how many messages it has missed and was not told of. */
  readonly missed = new Map<string, number>()
  readonly #tell: (topic: string, count: number) => void

  constructor(session: Session, tell: (topic: string, count: number) => void) {
    this.session = session
    this.#tell = tell
  }

  pump(): boolean {
    for (const [topic, count] of this.missed) this.#tell(topic, count)
    this.missed.clear()
    return false
  }
}
