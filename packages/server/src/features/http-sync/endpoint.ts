import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Value } from '@syncline/core'
import {
  ERRORS,
  encodeValueJson,
  encodeValueMsgpack,
  readHttpSync,
  wireError,
  type Encoding,
  type WireError,
} from '@syncline/protocol'
import { errorText } from '../../env.ts'
import type { Endpoint, Kernel } from '../../feature.ts'
import type { RequestSession } from '../../sessions/request-session.ts'
import { decodeBody, readBody, type BodyBudget } from './body.ts'
import { Exchange } from './exchange.ts'
import { Payers } from './payers.ts'

/** What bounds a request. */
export interface HttpSyncOptions {
  readonly maxBodyBytes: number
  readonly maxDeltaPages: number
}

const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  json: 'application/json; charset=utf-8',
  msgpack: 'application/x-msgpack',
}

/** Answers `POST /sync`: who asks is known before anything of the body is read. */
export function syncEndpoint(kernel: Kernel, options: HttpSyncOptions, budget: BodyBudget): Endpoint {
  const payers = new Payers()
  return (request, response) => {
    const call = new Call(kernel, options, budget, payers, response)
    call.answer(request).catch((error: unknown) => {
      kernel.env.log('error', 'A request to /sync failed', { error: errorText(error) })
      call.refuse(wireError('INTERNAL_ERROR'))
    })
  }
}

/** One request to the endpoint. */
class Call {
  readonly #kernel: Kernel
  readonly #options: HttpSyncOptions
  readonly #budget: BodyBudget
  readonly #payers: Payers
  readonly #response: ServerResponse
  #exchange: Exchange | undefined
  /** Why the server ended the session of the request. */
  #fault: WireError | undefined

  constructor(kernel: Kernel, options: HttpSyncOptions, budget: BodyBudget, payers: Payers, response: ServerResponse) {
    this.#kernel = kernel
    this.#options = options
    this.#budget = budget
    this.#payers = payers
    this.#response = response
  }

  async answer(request: IncomingMessage): Promise<void> {
    if (request.method !== 'POST') {
      this.#response.setHeader('allow', 'POST')
      return this.refuse(wireError('INVALID_REQUEST', 'This endpoint takes POST alone.'), 405)
    }
    const session = this.#open(request)
    try {
      await this.#authenticate(session, request.headers.authorization)
      if (session.session.principal !== undefined) await this.#serve(session, request)
      else this.refuse(this.#fault ?? wireError('UNAUTHORIZED', 'The Authorization header must be: Bearer <token>.'))
    } finally {
      session.end()
    }
  }

  /** Answers with an error and no more. What is left of the request's body is not read. */
  refuse(error: WireError, status: number = ERRORS[error.errorCode].status): void {
    const response = this.#response
    if (response.headersSent || response.destroyed) return
    const { errorCode, message, details } = error
    const retryAfterMs = details?.['retryAfterMs']
    if (typeof retryAfterMs === 'number') response.setHeader('retry-after', Math.ceil(retryAfterMs / 1_000))
    if (status === ERRORS.UNAUTHORIZED.status) response.setHeader('www-authenticate', 'Bearer')
    if (!response.req.complete) response.setHeader('connection', 'close')
    const body = { error: message, code: status, errorCode, ...(details === undefined ? {} : { details: [details] }) }
    send(response, status, 'json', body)
  }

  #open(request: IncomingMessage): RequestSession {
    const session = this.#kernel.openRequest({
      remoteAddress: request.socket.remoteAddress ?? '',
      onMessage: (message) => {
        if (message.type === 'AUTH_FAIL') this.#fault = wireError('UNAUTHORIZED', message.error)
        this.#exchange?.receive(message)
      },
      onClosed: () => {
        this.refuse(this.#fault ?? wireError('INTERNAL_ERROR'))
        this.#exchange?.abandon()
      },
    })
    // Whoever went away holds nothing here any longer.
    this.#response.once('close', () => {
      session.end()
      this.#exchange?.abandon()
    })
    return session
  }

  async #authenticate(session: RequestSession, header: string | undefined): Promise<void> {
    const token = /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1]
    if (token !== undefined) await session.route({ type: 'AUTH', token })
  }

  async #serve(session: RequestSession, request: IncomingMessage): Promise<void> {
    const read = await readBody(request, this.#options.maxBodyBytes, this.#budget)
    if (read === undefined) return
    if (!read.ok) return this.refuse(read.error)
    try {
      const decoded = decodeBody(request.headers, read.value.bytes)
      if (!decoded.ok) return this.refuse(decoded.error)
      const body = readHttpSync(decoded.value.body)
      if (!body.ok) {
        this.#kernel.limits.note(body.error)
        return this.refuse(body.error)
      }
      const { encoding } = decoded.value
      session.session.encoding = encoding
      session.session.payer = this.#payers.of(session.session)
      const exchange = new Exchange(body.value, this.#options.maxDeltaPages)
      this.#exchange = exchange
      await exchange.run(session)
      if (session.session.isClosed) return
      const { sequencer } = this.#kernel.store
      send(this.#response, exchange.status(), encoding, exchange.response(sequencer.stamp()))
    } finally {
      read.value.release()
    }
  }
}

function send(response: ServerResponse, status: number, encoding: Encoding, body: object): void {
  const value = body as Value
  const bytes = encoding === 'json' ? Buffer.from(encodeValueJson(value)) : encodeValueMsgpack(value)
  response.writeHead(status, {
    'content-type': CONTENT_TYPES[encoding],
    'content-length': bytes.length,
    'cache-control': 'no-store',
  })
  response.end(bytes)
}
