// A writer that has so many frames in flight and answers each acknowledgement by a new frame.
import type { WriteConcern } from '@syncline/protocol'
import { Histogram } from './histogram.ts'
import { KEYS, OpTemplate } from './op-template.ts'
import type { RawClient } from './raw-client.ts'
import { eachMessage, messagesIn } from './session.ts'

/** What a writer sends. */
export interface WriterSettings {
  readonly opsPerFrame: number
  readonly inFlight: number
  readonly level?: WriteConcern
  /** The peer is a bare `ws` server, whose acknowledgements say nothing of success. */
  readonly isBare?: boolean
}

/** What all writers of a process have seen together. */
export class Tally {
  readonly latencies: Histogram = new Histogram()
  ops = 0
  /** Frames that are not acknowledged yet. */
  inFlight = 0
  /** Writers answer acknowledgements by new frames. */
  isSending = true

  /** Stops sending and waits until everything is acknowledged. */
  async drain(): Promise<void> {
    this.isSending = false
    const deadline = performance.now() + 10_000
    while (this.inFlight > 0) {
      if (performance.now() > deadline) throw new Error(`${this.inFlight} frames were never acknowledged`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}

/** Counters of stamps stay below 128, so that each is one byte. */
const MAX_COUNTER = 127
/** One acknowledgement of so many is decoded in full. */
const CHECK_EVERY = 4_096

/** Writes over one connection. */
export class Writer {
  readonly #client: RawClient
  readonly #settings: WriterSettings
  readonly #tally: Tally
  readonly #template: OpTemplate
  readonly #sentAt: Float64Array
  readonly #millis = new Uint8Array(8)
  readonly #millisView = new DataView(this.#millis.buffer)
  #out: Buffer
  #answered = 0
  #sent = 0
  #acked = 0
  #nextKey: number
  #nowMs = 0
  #counter = 0
  /** Where an acknowledgement says `true` for its first op; undefined until one was read. */
  #successAt: number | undefined

  constructor(client: RawClient, settings: WriterSettings, tally: Tally, name: string, firstKey: number) {
    this.#client = client
    this.#settings = settings
    this.#tally = tally
    this.#template = new OpTemplate(name, settings.opsPerFrame, settings.level)
    this.#sentAt = new Float64Array(settings.inFlight)
    this.#out = this.#copies()
    this.#nextKey = firstKey
    client.onPayload = (data, start, end) => eachMessage(data, start, end, this.#take)
    client.onTurn = () => this.#turn()
  }

  /** Sends frames in one write. No more than `inFlight` may be unanswered. */
  send(count: number): void {
    const { opsPerFrame, inFlight } = this.#settings
    const size = this.#template.frame.length
    const now = performance.now()
    for (let i = 0; i < count; i++) {
      this.#stamp(opsPerFrame)
      this.#template.patch(this.#out, i * size, this.#sent * opsPerFrame, this.#nextKey, this.#millis, this.#counter)
      this.#counter += opsPerFrame
      this.#nextKey = (this.#nextKey + opsPerFrame) % KEYS
      this.#sentAt[this.#sent++ % inFlight] = now
    }
    this.#tally.inFlight += count
    const { socket } = this.#client
    socket.write(this.#out.subarray(0, count * size))
    // The socket still reads from these bytes.
    if (socket.writableLength > 0) this.#out = this.#copies()
  }

  end(): void {
    this.#client.end()
  }

  #turn(): void {
    const { opsPerFrame, inFlight } = this.#settings
    const count = this.#acked - this.#answered
    if (count === 0) return
    const tally = this.#tally
    const now = performance.now()
    for (; this.#answered < this.#acked; this.#answered++) {
      tally.latencies.add(now - (this.#sentAt[this.#answered % inFlight] as number))
    }
    tally.inFlight -= count
    tally.ops += count * opsPerFrame
    if (tally.isSending) this.send(count)
  }

  readonly #take = (data: Buffer, start: number, end: number): void => {
    this.#acked++
    const at = this.#successAt
    if (at === undefined || this.#acked % CHECK_EVERY === 0 || (at >= 0 && data[start + at] !== 0xc3)) {
      this.#check(data, start, end)
    }
  }

  /** Decodes an acknowledgement in full, and learns where it says `true`. */
  #check(data: Buffer, start: number, end: number): void {
    const [message] = messagesIn(data.subarray(start, end))
    if (message?.type !== 'OP_ACK') throw new Error(`Not an OP_ACK: ${JSON.stringify(message)}`)
    if (this.#settings.isBare === true) {
      this.#successAt = -1
      return
    }
    const { results } = message.payload
    const wanted = this.#settings.level ?? 'MEMORY'
    const failed = results.find(({ success, achievedLevel }) => !success || achievedLevel !== wanted)
    if (failed !== undefined || results.length !== this.#settings.opsPerFrame) {
      throw new Error(`Not acknowledged: ${JSON.stringify(failed ?? message)}`)
    }
    this.#successAt = data.indexOf('success', start) + 'success'.length - start
  }

  #stamp(count: number): void {
    const now = Date.now()
    if (now > this.#nowMs) [this.#nowMs, this.#counter] = [now, 0]
    else if (this.#counter + count > MAX_COUNTER) [this.#nowMs, this.#counter] = [this.#nowMs + 1, 0]
    else return
    this.#millisView.setFloat64(0, this.#nowMs)
  }

  #copies(): Buffer {
    return Buffer.concat(Array.from({ length: this.#settings.inFlight }, () => this.#template.frame))
  }
}
