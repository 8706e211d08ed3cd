import { createHash } from 'node:crypto'
import type { Frame } from '@syncline/protocol'

const KEPT_EVENTS = 400
/** Frames from here on are hashed by native code, which costs more to begin with and less for each byte. */
const LARGE = 1_500

/** What happened at one moment, as far as it is kept for the reader. */
interface TraceEvent {
  readonly atMs: number
  readonly who: string
  readonly what: string
  readonly frame: Frame | undefined
}

/** The course of one run: every event goes into a hash, and the latest ones are kept to be read. */
export class Trace {
  #upper = 0x811c9dc5
  #lower = 0x9e3779b9
  #count = 0
  readonly #kept: TraceEvent[] = []
  readonly #print: ((line: string) => void) | undefined

  constructor(print?: (line: string) => void) {
    this.#print = print
  }

  get count(): number {
    return this.#count
  }

  /** Identifies the course of events: equal runs have equal hashes. */
  get hash(): string {
    return hex(this.#upper) + hex(this.#lower)
  }

  note(atMs: number, who: string, what: string, frame?: Frame): void {
    this.#count++
    this.#text(`${atMs} ${who} ${what}`)
    if (frame !== undefined && frame.length > LARGE) this.#text(createHash('md5').update(frame).digest('hex'))
    else if (typeof frame === 'string') this.#text(frame)
    else if (frame !== undefined) for (const byte of frame) this.#add(byte)
    const event = { atMs, who, what, frame }
    this.#print?.(lineOf(event))
    this.#kept.push(event)
    if (this.#kept.length >= KEPT_EVENTS * 2) this.#kept.splice(0, KEPT_EVENTS)
  }

  /** The latest events, a line each. */
  latest(count: number): readonly string[] {
    return this.#kept.slice(-count).map(lineOf)
  }

  #text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#add(text.charCodeAt(i))
  }

  #add(unit: number): void {
    this.#upper = Math.imul(this.#upper ^ unit, 0x01000193)
    this.#lower = (Math.imul(this.#lower, 0x85ebca6b) + unit) | 0
  }
}

function hex(number: number): string {
  return (number >>> 0).toString(16).padStart(8, '0')
}

function lineOf({ atMs, who, what, frame }: TraceEvent): string {
  const text = frame === undefined ? '' : typeof frame === 'string' ? frame : `<${frame.length} bytes of MessagePack>`
  return `${(atMs / 1000).toFixed(3).padStart(9)} s  ${who.padEnd(10)} ${what}${text === '' ? '' : ` ${text}`}`
}
