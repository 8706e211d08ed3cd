import type { Env } from '@syncline/core'
import { CLOSE_CODES, type ServerMessage } from '@syncline/protocol'
import { errorText } from '../env.ts'
import type { Session } from '../sessions/session.ts'
import type { Source } from './outbox.ts'

/** A row came into a result, changed in it, or left it. */
export interface RowChanged {
  readonly key: string
  readonly changeType: 'ENTER' | 'UPDATE' | 'LEAVE'
}

/**
 * One session that follows a result: it is sent the result in pages, then what changes in it. While its socket is full, or
 * pages of the result leave, it keeps no change, but only whether its reader knows a changed row: an entry that came and
 * went meanwhile cancels out. When there is room it is sent the net change, or, where that is too much, the result anew.
 * `Closing` is what the last page of a change says of the result.
 */
export abstract class ResultFollower<Change extends RowChanged, Closing> implements Source {
  readonly session: Session
  readonly mapName: string
  #isEnded = false
  readonly #env: Pick<Env, 'log'>
  /** By key, whether the result that its reader knows held the key. Undefined while it misses nothing. */
  #missed: Map<string, boolean> | undefined = new Map()
  /** It misses too much. */
  #isResultDue = false
  /** The net change that is being sent. */
  #changes: readonly Change[] = []
  #sent = 0
  #closing: Closing | undefined

  constructor(env: Pick<Env, 'log'>, session: Session, mapName: string) {
    this.#env = env
    this.session = session
    this.mapName = mapName
  }

  /** Changed rows beyond which it gets the result anew. */
  protected abstract get maxMissed(): number

  /** What the result is as of now. */
  protected abstract closing(): Closing

  /** The change of a row, as it is in the result now; undefined where its reader knows no other. */
  protected abstract changeOf(key: string, isKnown: boolean): Change | undefined

  /** Sends a page of changes, from one of them on. Answers where the next page begins. */
  protected abstract sendChanges(changes: readonly Change[], from: number, closing: Closing): number

  /** Sends the result anew, beginning with `begin`. */
  protected abstract sendResult(): void

  /** It is sent nothing more. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  end(): void {
    this.#isEnded = true
  }

  /** The result is taken now: it has what was held back until now. */
  begin(): void {
    this.#missed = new Map()
    this.#isResultDue = false
  }

  /** Tells of changed rows: at once, or net when there is room. */
  tell(changes: readonly Change[]): void {
    try {
      this.#tell(changes)
    } catch (error) {
      this.fail(error)
    }
  }

  /** Its reader cannot be kept up to date any more: it has to come back and ask anew. */
  fail(error: unknown): void {
    const { session, mapName } = this
    const details = { session: session.id, map: mapName, error: errorText(error) }
    this.#env.log('error', 'A live result failed and its subscriber is closed', details)
    session.close(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
  }

  pump(): boolean {
    if (this.#isEnded) return false
    if (this.#sent === this.#changes.length) {
      if (this.#isResultDue) {
        this.sendResult()
        return false
      }
      this.#changes = this.#collect()
      this.#closing = this.closing()
      this.#sent = 0
    }
    this.#sent = this.sendChanges(this.#changes, this.#sent, this.#closing as Closing)
    if (this.#sent < this.#changes.length || this.#isResultDue || this.#missed?.size !== 0) return true
    // From now on changes are sent as they come.
    this.#missed = undefined
    return false
  }

  #tell(changes: readonly Change[]): void {
    let sent = 0
    if (this.#missed === undefined) {
      const { outbox } = this.session
      if (!outbox.isDraining) sent = this.sendChanges(changes, 0, this.closing())
      if (sent === changes.length) return
      this.#missed = new Map()
      outbox.pull(this)
    }
    for (const { key, changeType } of changes.slice(sent)) {
      if (!this.#missed.has(key)) this.#missed.set(key, changeType !== 'ENTER')
    }
    if (this.#missed.size <= this.maxMissed) return
    this.#missed.clear()
    this.#isResultDue = true
  }

  #collect(): Change[] {
    const leaves: Change[] = []
    const others: Change[] = []
    for (const [key, isKnown] of this.#missed ?? []) {
      const change = this.changeOf(key, isKnown)
      // A window loses rows before it takes new ones, or it would be too large in between.
      if (change !== undefined) (change.changeType === 'LEAVE' ? leaves : others).push(change)
    }
    this.#missed = new Map()
    return [...leaves, ...others]
  }
}

/** Does work for those who follow a result: where it fails, they have to come back and ask anew. */
export function isolated<Change extends RowChanged, Closing>(
  followers: Iterable<ResultFollower<Change, Closing>>,
  work: () => void,
): void {
  try {
    work()
  } catch (error) {
    for (const follower of followers) follower.fail(error)
  }
}

/** The pages of a result as the socket takes them; then what changed while they left. */
export class ResultPages<Change extends RowChanged, Closing> implements Source {
  readonly #follower: ResultFollower<Change, Closing>
  readonly #make: () => Iterator<ServerMessage>
  #pages: Iterator<ServerMessage> | undefined

  /** `make` takes the result, with the first page. */
  constructor(follower: ResultFollower<Change, Closing>, make: () => Iterator<ServerMessage>) {
    this.#follower = follower
    this.#make = make
  }

  pump(): boolean {
    const { session, isEnded } = this.#follower
    if (isEnded) return false
    this.#pages ??= this.#make()
    const next = this.#pages.next()
    if (next.done === true) session.outbox.pull(this.#follower)
    else session.send(next.value)
    return next.done !== true
  }
}
