import { HybridClock, type Value } from '@syncline/core'
import { toClientOp, type Journal, type SentOp } from './journal.ts'
import type { Random } from './random.ts'
import type { WireClient } from './wire-client.ts'

/** How writers of one round write. */
export interface Pace {
  /** Messages of one connection that may wait for their answer. */
  readonly window: number
  /** Ops of one message, at most. */
  readonly batch: number
  /** Characters of one field, at most. */
  readonly fieldLength: number
  /** Share of messages that ask for no more than MEMORY. */
  readonly memoryShare: number
}

const FIELDS = ['a', 'b', 'c', 'd', 'e'] as const
const KEYS = 120

/** A connection that writes without pause until it ends, and notes every answer in the journal. */
export class Writer {
  /** Messages handed to the socket. */
  sentMessages = 0
  answeredMessages = 0
  onSent = (): void => {}
  /** Told of every answer, and whether it was given before anything of it was stored. */
  onAnswered = (_isInMemory: boolean): void => {}
  readonly #client: WireClient
  readonly #name: string
  readonly #journal: Journal
  readonly #random: Random
  readonly #pace: Pace
  readonly #mapNames: readonly string[]
  readonly #clock: HybridClock
  #lastId = 0

  constructor(
    client: WireClient,
    name: string,
    journal: Journal,
    random: Random,
    pace: Pace,
    mapNames: readonly string[],
  ) {
    this.#client = client
    this.#name = name
    this.#journal = journal
    this.#random = random
    this.#pace = pace
    this.#mapNames = mapNames
    this.#clock = new HybridClock(name)
    client.listen((message) => {
      if (message.type !== 'OP_ACK') return
      for (const result of message.payload.results) journal.answered(result)
      this.answeredMessages++
      this.onAnswered(message.payload.achievedLevel === 'MEMORY')
      this.#send()
    })
  }

  start(): void {
    for (let i = 0; i < this.#pace.window; i++) this.#send()
  }

  #send(): void {
    const random = this.#random
    const { batch, memoryShare } = this.#pace
    const count = random.next() < 0.3 ? 1 : 1 + random.below(batch)
    // Now and then levels are mixed in one message: its answer waits for the highest.
    const share = random.next() < 0.1 ? 0.5 : Number(random.next() < memoryShare)
    const ops = Array.from({ length: count }, () => this.#op(random.next() < share ? 'MEMORY' : 'PERSISTED'))
    for (const op of ops) this.#journal.sending(op)
    if (ops.length === 1) this.#client.send({ type: 'CLIENT_OP', payload: toClientOp(ops[0] as SentOp) })
    else this.#client.send({ type: 'OP_BATCH', payload: { ops: ops.map(toClientOp) } })
    this.sentMessages++
    this.onSent()
  }

  #op(level: SentOp['level']): SentOp {
    const random = this.#random
    const id = `${this.#name}-${++this.#lastId}`
    const mapName = random.pick(this.#mapNames)
    const common = { id, mapName, stamp: this.#clock.tick(Date.now()), level, line: this.#name } as const
    const kind = random.next()
    // A PATCH is refused where there is no record: it goes to one that the server has promised to keep.
    const known = kind < 0.45 ? this.#journal.knownKeys(mapName) : []
    if (known.length > 0) {
      const fields = FIELDS.filter(() => random.next() < 0.5)
      const named = fields.length > 0 ? fields : [random.pick(FIELDS)]
      const unset = named.length > 1 && random.next() < 0.3 ? named.slice(0, 1) : []
      const set = this.#values(
        id,
        named.filter((field) => !unset.includes(field)),
      )
      return { ...common, type: 'PATCH', key: random.pick(known), set, unset }
    }
    const key = `k${random.below(KEYS)}`
    if (kind > 0.88) return { ...common, type: 'REMOVE', key, set: {}, unset: [] }
    return { ...common, type: 'PUT', key, set: this.#values(id, FIELDS), unset: [] }
  }

  /** Values that say whose they are, of different lengths. */
  #values(id: string, fields: readonly string[]): Record<string, Value> {
    return Object.fromEntries(
      fields.map((field) => [field, `${id}.${field}.${'*'.repeat(this.#random.below(this.#pace.fieldLength))}`]),
    )
  }
}
