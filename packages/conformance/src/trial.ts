import { Skipped } from './failure.ts'
import { claimsAt } from './meet.ts'
import { signToken } from './token.ts'
import { Peer, type Encoding, type Message, type Received } from './wire.ts'

/** What server is examined, and how its doors are opened. */
export interface Target {
  readonly url: string
  /** A token that may read and write everything. */
  readonly token?: string
  /** The secret by which the server's tokens are signed: more can be examined with it than with a token. */
  readonly secret?: string
  /** A map that the server searches, and one of its searched fields. */
  readonly searched?: { readonly map: string; readonly field: string }
  /** Longest wait for what must come. */
  readonly timeoutMs: number
}

/** What the server says of itself. */
export interface ServerFacts {
  readonly isOpen: boolean
  readonly protocolVersion: number
  /** How far the server's clock is ahead of this one. */
  readonly clockOffsetMs: number
}

/** A stamp of a record. */
export interface Stamp {
  readonly millis: number
  readonly counter: number
  readonly nodeId: string
}

/** A role that no policy names. */
export const NO_ROLE = 'conformance-nobody'

let trials = 0

/** One check under way: its connections, and names of its own that nobody else uses. */
export class Trial {
  readonly encoding: Encoding
  readonly facts: ServerFacts
  /** What came on all connections. */
  readonly received: Received[] = []
  /** By which codes the server closed connections. */
  readonly closes: number[] = []
  readonly #target: Target
  readonly #run: string
  readonly #number = ++trials
  readonly #peers: Peer[] = []
  readonly #written = new Map<string, Set<string>>()
  #names = 0
  #counter = 0

  constructor(target: Target, facts: ServerFacts, run: string, encoding: Encoding) {
    this.#target = target
    this.facts = facts
    this.#run = run
    this.encoding = encoding
  }

  /** A connection that has not said anything. */
  async connect(
    options: { readonly encoding?: Encoding; readonly subprotocols?: readonly string[] } = {},
  ): Promise<Peer> {
    const { url, timeoutMs } = this.#target
    const peer = await Peer.open(url, options.encoding ?? this.encoding, timeoutMs, options.subprotocols)
    this.#peers.push(peer)
    return peer
  }

  /** A connection on which everything is allowed. */
  async signedIn(encoding: Encoding = this.encoding): Promise<Peer> {
    const peer = await this.connect({ encoding })
    await peer.take('AUTH_REQUIRED')
    if (!this.facts.isOpen) await peer.ask({ type: 'AUTH', token: this.token() }, 'AUTH_ACK')
    return peer
  }

  /** A token with these claims beside those of one that may do everything. */
  tokenAs(claims: object): string {
    if (this.facts.isOpen) this.skip('the server is open to everyone')
    return signToken(this.secret(), { ...this.claims(), ...claims })
  }

  /** A connection of a user whose token has these claims beside those of one who may do everything. */
  async signedInAs(claims: object): Promise<Peer> {
    const token = this.tokenAs(claims)
    const peer = await this.connect()
    await peer.take('AUTH_REQUIRED')
    await peer.ask({ type: 'AUTH', token }, 'AUTH_ACK')
    return peer
  }

  /** A token that may do everything. */
  token(): string {
    const { token, secret } = this.#target
    return token ?? signToken(secret ?? '', this.claims())
  }

  /** The claims of a token that may do everything, for an hour. */
  claims(): ReturnType<typeof claimsAt> {
    return claimsAt(this.now())
  }

  /** The secret of the server's tokens. */
  secret(): string {
    return this.#target.secret ?? this.skip('needs --secret')
  }

  /** A map that the server searches, and one of its searched fields. */
  searched(): { readonly map: string; readonly field: string } {
    return this.#target.searched ?? this.skip('needs --searched MAP.FIELD')
  }

  /** Milliseconds by the server's clock. */
  now(): number {
    return Math.round(Date.now() + this.facts.clockOffsetMs)
  }

  /** A name that nothing else has. */
  name(): string {
    return `conformance-${this.#run}-${this.#number}-${++this.#names}`
  }

  /** A stamp later than all before it. `aheadMs` moves it from the server's time. */
  stamp(aheadMs = 0): Stamp {
    return { millis: this.now() + aheadMs, counter: ++this.#counter, nodeId: `conformance-${this.#run}` }
  }

  /** A CLIENT_OP. What it writes is removed when the check is over. */
  op(mapName: string, key: string, members: object): object {
    this.willRemove(mapName, [key])
    return { type: 'CLIENT_OP', payload: { mapName, key, ...members } }
  }

  /** A CLIENT_OP that writes a whole value. */
  put(mapName: string, key: string, value: unknown, members: object = {}): object {
    return this.op(mapName, key, {
      id: `op-${key}`,
      opType: 'PUT',
      record: { value, timestamp: this.stamp() },
      ...members,
    })
  }

  /** Remembers keys that are written in another way. */
  willRemove(mapName: string, keys: readonly string[]): void {
    const known = this.#written.get(mapName) ?? new Set()
    for (const key of keys) known.add(key)
    this.#written.set(mapName, known)
  }

  /** The result of the only op in an OP_ACK. */
  async write(peer: Peer, message: object): Promise<Message['payload']> {
    const { payload } = await peer.ask(message, 'OP_ACK')
    return payload['results'][0] as Message['payload']
  }

  /** Does not remove what was noted of a map: nothing of it was written, or the check removes it itself. */
  forget(mapName: string): void {
    this.#written.delete(mapName)
  }

  /** An address of the same server for requests of HTTP. */
  httpUrl(path: string): string {
    const url = new URL(path, this.#target.url)
    url.protocol = url.protocol === 'wss:' ? 'https:' : 'http:'
    return url.href
  }

  /** Ends the check: it cannot be made here. */
  skip(reason: string): never {
    throw new Skipped(reason)
  }

  /** Removes what was written and ends all connections. */
  async end(): Promise<void> {
    for (const peer of this.#peers) {
      this.received.push(...peer.received)
      if (peer.closed !== undefined && peer.isClosedByServer) this.closes.push(peer.closed.code)
    }
    try {
      if (this.#written.size > 0) await this.#clean()
    } finally {
      for (const peer of this.#peers) peer.end()
    }
  }

  async #clean(): Promise<void> {
    const peer = await this.signedIn('json')
    for (const [mapName, keys] of this.#written) {
      const ops = [...keys].map((key) => ({
        mapName,
        key,
        opType: 'REMOVE',
        record: { value: null, timestamp: this.stamp(30_000) },
      }))
      for (let i = 0; i < ops.length; i += 1_000) {
        await peer.ask({ type: 'OP_BATCH', payload: { ops: ops.slice(i, i + 1_000) } }, 'OP_ACK')
      }
    }
  }
}
