import type { IncomingMessage } from 'node:http'
import { err, ok, type Result } from '@syncline/core'
import { decodeFrame, wireError, type Encoding, type WireError } from '@syncline/protocol'
import type { Limits } from '../../telemetry/limits.ts'

/** Bytes of bodies that are held at once, by all requests. */
export interface BodyBudget {
  bytes: number
  readonly maxBytes: number
  /** Counts what is refused. */
  readonly limits: Limits
}

const READ_BEFORE = 'The body was read before the server had it: call handle() before what parses bodies.'

/** How long whoever is refused for lack of room should wait. */
const RETRY_AFTER_MS = 1_000

/** The bytes of one body, which count in the budget until they are released. */
export class HeldBytes {
  readonly #budget: BodyBudget
  bytes = 0
  isReleased = false

  constructor(budget: BodyBudget) {
    this.#budget = budget
  }

  add(bytes: number): void {
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
 * Reads the body of a request, and says in `done` what became of it, once. A refusal leaves the rest of it unread. It
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

function tooLarge(max: number, { limits }: BodyBudget): WireError {
  const message = `The body has more than ${max} bytes.`
  return limits.refusal('httpSync.maxBodyBytes', max, { code: 'TOO_LARGE', message })
}

function overloaded({ maxBytes, limits }: BodyBudget): WireError {
  return limits.refusal('httpSync.maxBodiesBytes', maxBytes, { code: 'OVERLOADED', retryAfterMs: RETRY_AFTER_MS })
}

/** The format that a header names, if it is one of ours. */
function formatIn(header: string | undefined): Encoding | undefined {
  const text = header?.toLowerCase()
  if (text === undefined) return undefined
  return text.includes('json') ? 'json' : text.includes('msgpack') ? 'msgpack' : undefined
}

/** A request's body, decoded, and the format of the reply: that of `Accept`, else of the body. */
export function decodeBody(
  headers: IncomingMessage['headers'],
  bytes: Buffer,
): Result<{ readonly body: unknown; readonly encoding: Encoding }, WireError> {
  const named = formatIn(headers['content-type'])
  const decoded = decodeFrame(named === 'json' ? bytes.toString() : bytes)
  if (!decoded.ok)
    return err(wireError(decoded.error.errorCode, `The body cannot be decoded: ${decoded.error.message}`))
  const { encoding, message } = decoded.value
  return ok({ body: message, encoding: formatIn(headers.accept) ?? named ?? encoding })
}
