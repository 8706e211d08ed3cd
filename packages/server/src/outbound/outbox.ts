import { joinBatch, type Frame } from '@syncline/protocol'

/** What an outbox writes to: a socket that can say how much it still holds. */
export interface OutboxSocket {
  readonly bufferedBytes: number
  /** Sends frames in one write. */
  send(frames: readonly Frame[]): void
}

/** Something that has more to send than the socket takes at once: it is asked again when the socket has drained. */
export interface Source {
  /** Sends at most one page. True if there is more. */
  pump(): boolean
}

/** Sources that one session may have open. With that many, its next message waits until one is done. */
const MAX_SOURCES = 64

/** When an outbox writes, and how much it may hold. */
export interface OutboxLimits {
  /** A socket that holds more than this is draining: nothing that can wait is given to it. */
  readonly drainingBytes: number
  /** Past this the session is closed: its client does not read what it asked for. */
  readonly maxBytes: number
  /** Messages per MessagePack BATCH. */
  readonly maxBatch: number
}

/**
 * The only place that writes to a socket. Frames queue up during a turn and leave together at its end. Replies are
 * never dropped. Everything else comes from sources that keep nothing here: they are asked when the socket has room.
 */
export class Outbox {
  readonly #socket: OutboxSocket
  readonly #limits: OutboxLimits
  readonly #onOverflow: () => void
  readonly #onFailure: (error: unknown) => void
  readonly #schedule: (outbox: Outbox) => void
  #frames: Frame[] = []
  #bytes = 0
  #sources: Source[] | undefined
  #waiting: (() => void)[] = []
  #isScheduled = false
  #isClosed = false

  /** `onFailure` is told of a source that threw: nothing more is sent, and the session has to be closed. */
  constructor(
    socket: OutboxSocket,
    limits: OutboxLimits,
    schedule: (outbox: Outbox) => void,
    onOverflow: () => void,
    onFailure: (error: unknown) => void,
  ) {
    this.#socket = socket
    this.#limits = limits
    this.#schedule = schedule
    this.#onOverflow = onOverflow
    this.#onFailure = onFailure
  }

  /** The socket has so much to send already that what can wait should. */
  get isDraining(): boolean {
    return this.#bytes + this.#socket.bufferedBytes > this.#limits.drainingBytes
  }

  /** Queues a frame for the end of the turn. */
  push(frame: Frame): void {
    if (this.#isClosed) return
    this.#frames.push(frame)
    this.#bytes += frame.length
    this.#wake()
  }

  /** Asks a source for pages as the socket drains, beginning at the end of this turn. */
  pull(source: Source): void {
    if (this.#isClosed) return
    if (this.#sources?.includes(source) === true) return
    ;(this.#sources ??= []).push(source)
    this.#wake()
  }

  /** Settles when there is room for another source; undefined if there is now. */
  whenRoom(): Promise<void> | undefined {
    if (this.#sources === undefined || this.#sources.length < MAX_SOURCES) return undefined
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Forgets a source. */
  drop(source: Source): void {
    const at = this.#sources?.indexOf(source) ?? -1
    if (at >= 0) this.#sources?.splice(at, 1)
  }

  /** Writes what is queued, then as much of the sources as the socket takes. Called at the end of a turn. */
  flush(): void {
    this.#isScheduled = false
    if (this.#isClosed) return
    try {
      this.#write()
      this.#pump()
    } catch (error) {
      this.close()
      this.#onFailure(error)
    }
  }

  #pump(): void {
    while (this.#sources !== undefined && this.#sources.length > 0 && !this.isDraining) {
      const source = this.#sources.shift() as Source
      // Sources take turns, so that a large snapshot does not keep a small map waiting.
      if (source.pump()) this.#sources?.push(source)
      else this.#wakeWaiting()
      this.#write()
      // Either may have closed the session, which drops its sources.
      if (this.#hasSources) return this.#wake()
    }
  }

  /** The socket took something: sources may have room again. */
  resume(): void {
    if (this.#hasSources) this.#wake()
  }

  /** Drops everything: the socket is gone. */
  close(): void {
    this.#isClosed = true
    this.#frames = []
    this.#sources = undefined
    this.#wakeWaiting()
  }

  get #hasSources(): boolean {
    return this.#sources !== undefined && this.#sources.length > 0
  }

  #wakeWaiting(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  #wake(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#schedule(this)
  }

  #write(): void {
    if (this.#frames.length === 0) return
    const frames = this.#frames
    this.#frames = []
    this.#bytes = 0
    this.#socket.send(frames.length === 1 ? frames : joinRuns(frames, this.#limits.maxBatch))
    if (this.#socket.bufferedBytes > this.#limits.maxBytes) this.#onOverflow()
  }
}

/** MessagePack frames that follow one another become BATCH frames; JSON peers get each frame by itself. */
function joinRuns(frames: readonly Frame[], maxBatch: number): readonly Frame[] {
  const joined: Frame[] = []
  let run: Uint8Array[] = []
  const endRun = (): void => {
    if (run.length > 1) joined.push(joinBatch(run))
    else if (run.length === 1) joined.push(run[0] as Uint8Array)
    run = []
  }
  for (const frame of frames) {
    if (typeof frame === 'string') {
      endRun()
      joined.push(frame)
      continue
    }
    run.push(frame)
    if (run.length >= maxBatch) endRun()
  }
  endRun()
  return joined
}
