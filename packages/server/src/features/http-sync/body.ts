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

/** A body that counts in the budget until it is released. */
export interface Body {
  readonly bytes: Buffer
  release(): void
}

/** Reads the body of a request. `undefined` where the client went away. A refusal leaves the rest of it unread. */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  budget: BodyBudget,
): Promise<Result<Body, WireError> | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let length = 0
    const release = (): void => {
      budget.bytes -= length
      length = 0
    }
    const settle = (outcome: Result<Body, WireError> | undefined): void => {
      request.off('data', take).off('end', end).off('close', gone)
      if (outcome?.ok !== true) release()
      resolve(outcome)
    }
    const take = (chunk: Buffer): void => {
      length += chunk.length
      budget.bytes += chunk.length
      const refusal =
        length > maxBytes ? tooLarge(maxBytes, budget) : budget.bytes > budget.maxBytes ? overloaded(budget) : undefined
      if (refusal === undefined) chunks.push(chunk)
      else settle(err(refusal))
    }
    const end = (): void => {
      settle(ok({ bytes: chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks), release }))
    }
    const gone = (): void => settle(undefined)
    // Its end has come already, and would be waited for in vain.
    if (request.readableDidRead) return resolve(err(wireError('INTERNAL_ERROR', READ_BEFORE)))
    const announced = Number(request.headers['content-length'] ?? 0)
    if (announced > maxBytes) return resolve(err(tooLarge(maxBytes, budget)))
    if (budget.bytes + announced > budget.maxBytes) return resolve(err(overloaded(budget)))
    request.on('data', take).on('end', end).on('close', gone)
  })
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
