import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Value } from '@syncline/core'
import {
  ERRORS,
  encodeValueJson,
  encodeValueMsgpack,
  readHttpSync,
  wireError,
  type WireError,
} from '@syncline/protocol'
import { errorText } from '../../env.ts'
import type { Endpoint, Kernel } from '../../feature.ts'
import type { RequestSession } from '../../sessions/request-session.ts'
import { JSON_FORMAT, decodeBody, readBody, type BodyBudget, type Format, type HeldBytes } from './body.ts'
import { Exchange } from './exchange.ts'
import { Payers } from './payers.ts'

/** What bounds a request. */
export interface HttpSyncOptions {
  readonly maxBodyBytes: number
  readonly maxDeltaPages: number
}

/** A reply in MessagePack up to here is joined with its headers. */
const MAX_JOINED_BYTES = 16_384

/** Answers `POST /sync`: who asks is known before anything of the body is read. */
export function syncEndpoint(kernel: Kernel, options: HttpSyncOptions, budget: BodyBudget): Endpoint {
  const payers = new Payers()
  return (request, response) => new Call(kernel, options, budget, payers, request, response).begin()
}

/**
 * One request to the endpoint. It costs hardly more than what it asks for, so nothing of it waits that need not: there
 * is a promise only where the session has to wait, and an exchange that is answered at once ends in the turn of its body.
 */
class Call {
  readonly #kernel: Kernel
  readonly #options: HttpSyncOptions
  readonly #budget: BodyBudget
  readonly #payers: Payers
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  #session: RequestSession | undefined
  #body: HeldBytes | undefined
  #exchange: Exchange | undefined
  #format = JSON_FORMAT
  /** Why the server ended the session of the request. */
  #fault: WireError | undefined

  constructor(
    kernel: Kernel,
    options: HttpSyncOptions,
    budget: BodyBudget,
    payers: Payers,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    this.#kernel = kernel
    this.#options = options
    this.#budget = budget
    this.#payers = payers
    this.#request = request
    this.#response = response
  }

  begin(): void {
    // It comes after the reply too. Whoever went away before holds nothing here any longer.
    this.#response.on('close', () => this.#end())
    this.#guarded(() => {
      if (this.#request.method === 'POST') this.#authenticate()
      else {
        this.#response.setHeader('allow', 'POST')
        this.#refuse(wireError('INVALID_REQUEST', 'This endpoint takes POST alone.'), 405)
      }
    })
  }

  #authenticate(): void {
    const request = this.#request
    const session = this.#kernel.openRequest({
      remoteAddress: request.socket.remoteAddress ?? '',
      onMessage: (message) => {
        if (message.type === 'AUTH_FAIL') this.#fault = wireError('UNAUTHORIZED', message.error)
        this.#exchange?.receive(message)
      },
      onClosed: () => this.#refuse(this.#fault ?? wireError('INTERNAL_ERROR')),
    })
    this.#session = session
    const token = tokenIn(request.headers.authorization)
    const waiting = token === undefined ? undefined : session.route({ type: 'AUTH', token })
    this.#after(waiting, () => this.#read(session))
  }

  #read(session: RequestSession): void {
    if (session.session.principal === undefined) {
      const error = this.#fault ?? wireError('UNAUTHORIZED', 'The Authorization header must be: Bearer <token>.')
      return this.#refuse(error)
    }
    this.#body = readBody(this.#request, this.#options.maxBodyBytes, this.#budget, (read) => {
      if (read.ok) this.#guarded(() => this.#serve(session, read.value))
      else this.#refuse(read.error)
    })
  }

  #serve(session: RequestSession, bytes: Buffer): void {
    const decoded = decodeBody(this.#request.headers, bytes)
    if (!decoded.ok) return this.#refuse(decoded.error)
    const body = readHttpSync(decoded.value.body)
    if (!body.ok) {
      this.#kernel.limits.note(body.error)
      return this.#refuse(body.error)
    }
    this.#format = decoded.value.format
    session.session.encoding = this.#format.encoding
    session.session.payer = this.#payers.of(session.session)
    const exchange = new Exchange(body.value, this.#options.maxDeltaPages)
    this.#exchange = exchange
    this.#after(exchange.run(session), () => this.#reply(session, exchange))
  }

  #reply(session: RequestSession, exchange: Exchange): void {
    if (session.session.isClosed) return
    const body = exchange.response(this.#kernel.store.sequencer.stamp())
    send(this.#response, exchange.status(), this.#format, body)
    this.#end()
  }

  /** Answers with an error and no more. What is left of the request's body is not read. */
  #refuse(error: WireError, status: number = ERRORS[error.errorCode].status): void {
    this.#end()
    const response = this.#response
    if (response.headersSent || response.destroyed) return
    const { errorCode, message, details } = error
    const retryAfterMs = details?.['retryAfterMs']
    if (typeof retryAfterMs === 'number') response.setHeader('retry-after', Math.ceil(retryAfterMs / 1_000))
    if (status === ERRORS.UNAUTHORIZED.status) response.setHeader('www-authenticate', 'Bearer')
    if (!this.#request.complete) response.setHeader('connection', 'close')
    const body = { error: message, code: status, errorCode, ...(details === undefined ? {} : { details: [details] }) }
    send(response, status, JSON_FORMAT, body)
  }

  /** Frees what the request holds. */
  #end(): void {
    this.#session?.end()
    this.#body?.release()
    this.#exchange?.abandon()
  }

  /** Goes on at once where nothing is to be waited for. */
  #after(waiting: Promise<void> | undefined, goOn: () => void): void {
    if (waiting === undefined) goOn()
    else waiting.then(goOn).catch((error: unknown) => this.#fail(error))
  }

  #guarded(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    this.#kernel.env.log('error', 'A request to /sync failed', { error: errorText(error) })
    this.#refuse(wireError('INTERNAL_ERROR'))
  }
}

/** The token of an Authorization header. */
function tokenIn(header: string | undefined): string | undefined {
  return header === undefined ? undefined : /^Bearer +(\S+) *$/i.exec(header)?.[1]
}

function send(response: ServerResponse, status: number, { encoding, contentType }: Format, body: object): void {
  const value = body as Value
  const encoded = encoding === 'json' ? encodeValueJson(value) : encodeValueMsgpack(value)
  const length = typeof encoded === 'string' ? Buffer.byteLength(encoded) : encoded.length
  const headers = ['content-type', contentType, 'content-length', String(length), 'cache-control', 'no-store']
  response.writeHead(status, headers)
  // Node writes a text together with the headers, and bytes apart from them, which takes twice as long where they are few.
  if (typeof encoded === 'string') response.end(encoded, length === encoded.length ? 'latin1' : 'utf8')
  else if (length > MAX_JOINED_BYTES) response.end(encoded)
  else response.end(Buffer.from(encoded.buffer, encoded.byteOffset, length).toString('latin1'), 'latin1')
}
