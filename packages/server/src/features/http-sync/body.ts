import type { IncomingMessage } from 'node:http'
import { err, ok, type Env, type Result } from '@syncline/core'
import { decodeFrame, wireError, type Encoding, type WireError } from '@syncline/protocol'
import type { Limits } from '../../telemetry/limits.ts'

/** Bytes of bodies, and of replies to them, that are held at once by all requests. */
export interface BodyBudget {
  bytes: number
  readonly maxBytes: number
  /** Counts what is refused. */
  readonly limits: Limits
}

const READ_BEFORE = 'The body was read before the server had it: call handle() before what parses bodies.'

/** How long whoever is refused for lack of room should wait. */
const RETRY_AFTER_MS = 1_000

/** What is left of a refused body is read up to here, for so long: its client sends it before it looks for an answer. */
const MAX_DISCARDED_BYTES = 67_108_864
const MAX_DISCARD_MS = 10_000

/** The bytes of one body and of its reply, which count in the budget until they are released. */
export class HeldBytes {
  readonly #budget: BodyBudget
  bytes = 0
  isReleased = false

  constructor(budget: BodyBudget) {
    this.#budget = budget
  }

  add(bytes: number): void {
    if (this.isReleased) return
    this.bytes += bytes
    this.#budget.bytes += bytes
  }

  release(): void {
    this.isReleased = true
    this.#budget.bytes -= this.bytes
    this.bytes = 0
  }
}

const EMPTY = Buffer.alloc(0)

/**
 * Reads the body of a request, and says in `done` what became of it, once. A refusal leaves the rest of it. What is read
 * counts in the budget until it is released; where that comes first, as when the client goes away, `done` is not called.
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  budget: BodyBudget,
  done: (outcome: Result<Buffer, WireError>) => void,
): HeldBytes {
  const held = new HeldBytes(budget)
  const refuse = (error: WireError): HeldBytes => {
    held.release()
    done(err(error))
    return held
  }
  // Its end has come already, and would be waited for in vain.
  if (request.readableDidRead) return refuse(wireError('INTERNAL_ERROR', READ_BEFORE))
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > maxBytes) return refuse(tooLarge(maxBytes, budget))
  if (budget.bytes + announced > budget.maxBytes) return refuse(overloaded(budget))
  let first: Buffer | undefined
  let more: Buffer[] | undefined
  request.on('data', (chunk: Buffer) => {
    if (held.isReleased) return
    held.add(chunk.length)
    if (held.bytes > maxBytes) refuse(tooLarge(maxBytes, budget))
    else if (budget.bytes > budget.maxBytes) refuse(overloaded(budget))
    else if (first === undefined) first = chunk
    else (more ??= [first]).push(chunk)
  })
  request.on('end', () => {
    if (!held.isReleased) done(ok(more === undefined ? (first ?? EMPTY) : Buffer.concat(more)))
  })
  return held
}

/**
 * Reads what is left of a body and forgets it. Says in `done` that there is no more of it, or more than its sender can be
 * expected to need; not at all where the connection ends before.
 */
export function discardBody(request: IncomingMessage, env: Pick<Env, 'after'>, done: () => void): void {
  let left = MAX_DISCARDED_BYTES
  const stop = (): void => {
    cancel()
    request.off('data', count).off('end', end).off('close', stop)
  }
  const end = (): void => {
    stop()
    done()
  }
  const count = (chunk: Buffer): void => {
    left -= chunk.length
    if (left < 0) end()
  }
  const cancel = env.after(MAX_DISCARD_MS, end)
  request.on('data', count).on('end', end).on('close', stop)
}

function tooLarge(max: number, { limits }: BodyBudget): WireError {
  const message = `The body has more than ${max} bytes.`
  return limits.refusal('httpSync.maxBodyBytes', max, { code: 'TOO_LARGE', message })
}

function overloaded({ maxBytes, limits }: BodyBudget): WireError {
  return limits.refusal('httpSync.maxBodiesBytes', maxBytes, { code: 'OVERLOADED', retryAfterMs: RETRY_AFTER_MS })
}

/** What a body is encoded in, and what its sender calls that. */
export interface Format {
  readonly encoding: Encoding
  readonly contentType: string
}

/** The format of what has no other. */
export const JSON_FORMAT: Format = { encoding: 'json', contentType: 'application/json; charset=utf-8' }
const MSGPACK_FORMAT: Format = { encoding: 'msgpack', contentType: 'application/x-msgpack' }
const PLAIN_MSGPACK_FORMAT: Format = { encoding: 'msgpack', contentType: 'application/msgpack' }

/** The format that a header names, if it is one of ours. */
function formatIn(header: string | undefined): Format | undefined {
  const text = header?.toLowerCase()
  if (text === undefined) return undefined
  if (text.includes('json')) return JSON_FORMAT
  if (!text.includes('msgpack')) return undefined
  return text.includes('application/msgpack') ? PLAIN_MSGPACK_FORMAT : MSGPACK_FORMAT
}

/** A request's body, decoded, and the format of the reply: that of `Accept`, else of the body. */
export function decodeBody(
  headers: IncomingMessage['headers'],
  bytes: Buffer,
): Result<{ readonly body: unknown; readonly format: Format }, WireError> {
  const named = formatIn(headers['content-type'])
  const decoded = decodeFrame(named === JSON_FORMAT ? bytes.toString() : bytes)
  if (!decoded.ok)
    return err(wireError(decoded.error.errorCode, `The body cannot be decoded: ${decoded.error.message}`))
  const { encoding, message } = decoded.value
  const found = encoding === 'json' ? JSON_FORMAT : MSGPACK_FORMAT
  return ok({ body: message, format: formatIn(headers.accept) ?? named ?? found })
}
