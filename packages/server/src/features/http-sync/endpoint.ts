import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Value } from '@syncline/core'
import {
  ERRORS,
  encodeValueJson,
  readHttpSync,
  wireError,
  type Frame,
  type ServerMessage,
  type WireError,
} from '@syncline/protocol'
import { errorText } from '../../env.ts'
import type { Endpoint, Kernel } from '../../feature.ts'
import type { RequestOptions, RequestSession } from '../../sessions/request-session.ts'
import { JSON_FORMAT, decodeBody, discardBody, readBody, type BodyBudget, type HeldBytes } from './body.ts'
import { Exchange, type ExchangeHost, type ReplyLimits } from './exchange.ts'
import { Payers } from './payers.ts'

/** What bounds a request. */
export interface HttpSyncOptions extends ReplyLimits {
  readonly maxBodyBytes: number
}

/** A reply in MessagePack up to here is joined with its headers. */
const MAX_JOINED_BYTES = 16_384

/** What all requests share. */
interface CallHost extends ExchangeHost {
  readonly kernel: Kernel
  readonly options: HttpSyncOptions
  readonly budget: BodyBudget
  readonly payers: Payers
}

/** Answers `POST /sync`: who asks is known before anything of the body is read. */
export function syncEndpoint(kernel: Kernel, options: HttpSyncOptions, budget: BodyBudget): Endpoint {
  const { maxReplyBytes } = options
  const message = `The reply has no room for this: it may have ${maxReplyBytes} bytes. Ask for less at once, or over a connection.`
  const full = (): WireError =>
    kernel.limits.refusal('httpSync.maxReplyBytes', maxReplyBytes, { code: 'TOO_LARGE', message })
  const host = { kernel, options, budget, payers: new Payers(), work: kernel.work, full }
  return (request, response) => new Call(host, request, response).begin()
}

/**
 * One request to the endpoint. It costs hardly more than what it asks for, so nothing of it waits that need not: there
 * is a promise only where the session has to wait, and an exchange that is answered at once ends in the turn of its body.
 */
class Call implements RequestOptions {
  readonly #host: CallHost
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  #session: RequestSession | undefined
  #body: HeldBytes | undefined
  #exchange: Exchange | undefined
  /** Why the server ended the session of the request. */
  #fault: WireError | undefined

  constructor(host: CallHost, request: IncomingMessage, response: ServerResponse) {
    this.#host = host
    this.#request = request
    this.#response = response
  }

  begin(): void {
    // It comes after the reply too, which is held until then. Whoever went away before holds nothing here any longer.
    this.#response.on('close', () => {
      this.#end()
      this.#body?.release()
    })
    this.#guarded(() => {
      if (this.#request.method === 'POST') this.#authenticate()
      else {
        this.#response.setHeader('allow', 'POST')
        this.#refuse(wireError('INVALID_REQUEST', 'This endpoint takes POST alone.'), 405)
      }
    })
  }

  get remoteAddress(): string {
    return this.#request.socket.remoteAddress ?? ''
  }

  onMessage(message: ServerMessage): void {
    if (message.type === 'AUTH_FAIL') this.#fault = wireError('UNAUTHORIZED', message.error)
    this.#exchange?.receive(message)
  }

  onClosed(): void {
    this.#refuse(this.#fault ?? wireError('INTERNAL_ERROR'))
  }

  #authenticate(): void {
    const session = this.#host.kernel.openRequest(this)
    this.#session = session
    const token = tokenIn(this.#request.headers.authorization)
    const waiting = token === undefined ? undefined : session.route({ type: 'AUTH', token })
    this.#after(waiting, () => this.#read(session))
  }

  #read(session: RequestSession): void {
    if (session.session.principal === undefined) {
      const error = this.#fault ?? wireError('UNAUTHORIZED', 'The Authorization header must be: Bearer <token>.')
      return this.#refuse(error)
    }
    const { options, budget } = this.#host
    this.#body = readBody(this.#request, options.maxBodyBytes, budget, (read) => {
      if (read.ok) this.#guarded(() => this.#serve(session, read.value))
      else this.#refuse(read.error)
    })
  }

  #serve(request: RequestSession, bytes: Buffer): void {
    const { kernel, options, payers } = this.#host
    const decoded = decodeBody(this.#request.headers, bytes)
    if (!decoded.ok) return this.#refuse(decoded.error)
    const body = readHttpSync(decoded.value.body)
    if (!body.ok) {
      kernel.limits.note(body.error)
      return this.#refuse(body.error)
    }
    const { encoding, contentType } = decoded.value.format
    const { session } = request
    session.encoding = encoding
    session.payer = payers.of(session)
    const exchange = new Exchange(this.#host, options, request, body.value, encoding)
    this.#exchange = exchange
    this.#after(exchange.run(), () => {
      if (session.isClosed) return
      const reply = exchange.reply(kernel.store.sequencer.stamp())
      this.#end()
      this.#body?.add(reply.length)
      this.#send(exchange.status(), contentType, reply)
    })
  }

  /** Answers with an error and no more. */
  #refuse(error: WireError, status: number = ERRORS[error.errorCode].status): void {
    this.#end()
    const response = this.#response
    if (response.headersSent || response.destroyed) return
    const { errorCode, message, details } = error
    const retryAfterMs = details?.['retryAfterMs']
    if (typeof retryAfterMs === 'number') response.setHeader('retry-after', Math.ceil(retryAfterMs / 1_000))
    if (status === ERRORS.UNAUTHORIZED.status) response.setHeader('www-authenticate', 'Bearer')
    const body = { error: message, code: status, errorCode, ...(details === undefined ? {} : { details: [details] }) }
    this.#send(status, JSON_FORMAT.contentType, encodeValueJson(body as Value))
  }

  #send(status: number, contentType: string, body: Frame): void {
    const response = this.#response
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
    const headers = ['content-type', contentType, 'content-length', String(length), 'cache-control', 'no-store']
    if (!this.#request.complete) {
      response.writeHead(status, [...headers, 'connection', 'close']).write(body)
      // Were the connection closed while its client still sends, the client would hear of that and not of the answer.
      return discardBody(this.#request, this.#host.kernel.env, () => response.end())
    }
    response.writeHead(status, headers)
    // Node writes a text together with the headers, and bytes apart from them, which takes twice as long where they are few.
    if (typeof body === 'string') response.end(body, length === body.length ? 'latin1' : 'utf8')
    else if (length > MAX_JOINED_BYTES) response.end(body)
    else response.end(Buffer.from(body.buffer, body.byteOffset, length).toString('latin1'), 'latin1')
  }

  /** Ends what is done for the request. */
  #end(): void {
    this.#session?.end()
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
    this.#host.kernel.env.log('error', 'A request to /sync failed', { error: errorText(error) })
    this.#refuse(wireError('INTERNAL_ERROR'))
  }
}

/** The token of an Authorization header. */
function tokenIn(header: string | undefined): string | undefined {
  if (header === undefined || !/^bearer /i.test(header)) return undefined
  const token = header.slice('Bearer '.length).trim()
  return token === '' || token.includes(' ') ? undefined : token
}
