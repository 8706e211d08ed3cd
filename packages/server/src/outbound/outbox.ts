import type { Frame } from '@syncline/protocol'
import { joinRuns, type BatchLimits, type FrameRun } from './frame-run.ts'

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
export interface OutboxLimits extends BatchLimits {
  /**
   * A socket that holds more than this is draining: nothing that can wait is given to it. With more than this queued in
   * one turn, the session's next message waits until it is written.
   */
  readonly drainingBytes: number
  /** Past this the session is closed: its client does not read what it asked for. */
  readonly maxBytes: number
  /** What one turn sends leaves in one write. Otherwise each message is a frame and a write of its own. */
  readonly isCoalescing: boolean
  /** How long what is queued for a draining socket waits for more, unless it fills a batch. */
  readonly maxDelayMs: number
}

/** The limits of connections' outboxes. */
export function outboxLimitsOf(
  coalescing: {
    readonly enabled: boolean
    readonly maxBatch: number
    readonly maxBytes: number
    readonly maxDelayMs: number
  },
  maxOutboundBytes: number,
): OutboxLimits {
  const { enabled, maxBatch, maxBytes, maxDelayMs } = coalescing
  return {
    drainingBytes: maxBytes,
    maxBytes: maxOutboundBytes,
    isCoalescing: enabled,
    maxBatch,
    maxBatchBytes: maxBytes,
    maxDelayMs,
  }
}

/** What an outbox needs of the server. */
export interface OutboxHost {
  /** Calls `endTurn` of the outbox when this turn ends. */
  readonly schedule: (outbox: Outbox) => void
  /** Calls back after a time, unless it is cancelled. */
  readonly after: (delayMs: number, run: () => void) => () => void
}

/** Whose outbox it is. */
export interface OutboxOwner {
  /** The client does not read what it asked for: its session has to be closed. */
  onOverflow(): void
  /** A source threw: nothing more is sent, and the session has to be closed. */
  onSourceFailure(error: unknown): void
}

/**
 * The only place that writes to a socket. Frames queue up during a turn and leave together at its end. Replies are
 * never dropped. Everything else comes from sources that keep nothing here: they are asked when the socket has room.
 */
export class Outbox {
  readonly #socket: OutboxSocket
  readonly #limits: OutboxLimits
  readonly #owner: OutboxOwner
  readonly #host: OutboxHost
  #frames: Frame[] = []
  /** What is queued, where it is one run that many receive; then there are no frames. */
  #run: FrameRun | undefined
  #bytes = 0
  #sources: Source[] | undefined
  #onRoom: (() => void) | undefined
  #isScheduled = false
  #isClosed = false
  #cancelDelay: (() => void) | undefined

  constructor(socket: OutboxSocket, limits: OutboxLimits, host: OutboxHost, owner: OutboxOwner) {
    this.#socket = socket
    this.#limits = limits
    this.#host = host
    this.#owner = owner
  }

  /** Bytes that are queued here or in the socket. */
  get unsentBytes(): number {
    return this.#bytes + this.#socket.bufferedBytes
  }

  /** The socket has so much to send already that what can wait should. */
  get isDraining(): boolean {
    return this.unsentBytes > this.#limits.drainingBytes
  }

  /** Queues a frame for the end of the turn. */
  push(frame: Frame): void {
    if (this.#isClosed) return
    this.#dissolveRun()
    this.#frames.push(frame)
    this.#bytes += frame.length
    this.#wake()
  }

  /** Queues frames that many receive. Where a socket is sent nothing else in a turn, they are written as they lie. */
  pushRun(run: FrameRun): void {
    if (this.#isClosed) return
    if (this.#frames.length === 0 && this.#run === undefined) this.#run = run
    else {
      this.#dissolveRun()
      for (const frame of run.frames) this.#frames.push(frame)
    }
    this.#bytes += run.bytes
    this.#wake()
  }

  /** Asks a source for pages as the socket drains, beginning at the end of this turn. */
  pull(source: Source): void {
    if (this.#isClosed) return
    if (this.#sources?.includes(source) === true) return
    ;(this.#sources ??= []).push(source)
    this.#wake()
  }

  /**
   * Settles when there is room for what another message is answered; undefined if there is now. So replies of one turn
   * are never more than `drainingBytes` and one reply, however many messages a frame brings. One caller at a time.
   */
  whenRoom(): Promise<void> | undefined {
    if (this.#hasRoom) return undefined
    return new Promise((resolve) => (this.#onRoom = resolve))
  }

  /** Forgets a source. */
  drop(source: Source): void {
    const at = this.#sources?.indexOf(source) ?? -1
    if (at >= 0) this.#sources?.splice(at, 1)
  }

  /** Writes what the turn has queued. Only what is for a socket that is still draining waits for more, for a while. */
  endTurn(): void {
    this.#isScheduled = false
    if (this.#mayWait) this.#cancelDelay ??= this.#host.after(this.#limits.maxDelayMs, () => this.flush())
    else this.flush()
  }

  /** Writes what is queued, then as much of the sources as the socket takes. */
  flush(): void {
    this.#endDelay()
    if (this.#isClosed) return
    try {
      this.#write()
      this.#pump()
    } catch (error) {
      this.close()
      this.#owner.onSourceFailure(error)
    }
    if (this.#hasRoom) this.#tellRoom()
  }

  #pump(): void {
    while (this.#sources !== undefined && this.#sources.length > 0 && !this.isDraining) {
      const source = this.#sources.shift() as Source
      // Sources take turns, so that a large snapshot does not keep a small map waiting.
      if (source.pump()) this.#sources?.push(source)
      this.#write()
      // Either may have closed the session, which drops its sources.
      if (this.#hasSources) return this.#wake()
    }
  }

  /** The socket took something: what waits for that may have room. */
  resume(): void {
    if (this.#hasSources || this.#count > 0) this.#wake()
  }

  /** Drops everything: the socket is gone. */
  close(): void {
    this.#isClosed = true
    this.#endDelay()
    this.#frames = []
    this.#run = undefined
    this.#bytes = 0
    this.#sources = undefined
    this.#tellRoom()
  }

  get #hasRoom(): boolean {
    return this.#bytes <= this.#limits.drainingBytes && (this.#sources?.length ?? 0) < MAX_SOURCES
  }

  get #count(): number {
    return this.#run === undefined ? this.#frames.length : this.#run.frames.length
  }

  /** What is queued besides a run makes it part of the queue. */
  #dissolveRun(): void {
    if (this.#run === undefined) return
    this.#frames = [...this.#run.frames]
    this.#run = undefined
  }

  get #hasSources(): boolean {
    return this.#sources !== undefined && this.#sources.length > 0
  }

  get #mayWait(): boolean {
    const { isCoalescing, maxDelayMs, maxBatch, maxBatchBytes, drainingBytes } = this.#limits
    return (
      isCoalescing &&
      maxDelayMs > 0 &&
      this.#count > 0 &&
      this.#count < maxBatch &&
      this.#bytes < maxBatchBytes &&
      this.#socket.bufferedBytes > drainingBytes
    )
  }

  #endDelay(): void {
    this.#cancelDelay?.()
    this.#cancelDelay = undefined
  }

  #tellRoom(): void {
    const onRoom = this.#onRoom
    this.#onRoom = undefined
    onRoom?.()
  }

  #wake(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#host.schedule(this)
  }

  #write(): void {
    if (this.#count === 0) return
    const run = this.#run
    const frames = run?.frames ?? this.#frames
    this.#frames = []
    this.#run = undefined
    this.#bytes = 0
    if (frames.length === 1) this.#socket.send(frames)
    else if (this.#limits.isCoalescing) this.#socket.send(run?.joined(this.#limits) ?? joinRuns(frames, this.#limits))
    else for (const frame of frames) this.#socket.send([frame])
    if (this.#socket.bufferedBytes > this.#limits.maxBytes) this.#owner.onOverflow()
  }
}
