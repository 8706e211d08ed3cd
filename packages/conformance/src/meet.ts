import { randomBytes } from 'node:crypto'
import { Failure } from './failure.ts'
import type { ServerFacts, Target } from './trial.ts'
import { signToken } from './token.ts'
import { Peer, describe } from './wire.ts'

/** A server cannot be examined, for this reason. */
export class Unusable extends Error {
  /** Whether another command would do: with a token, or with a better one. Otherwise it is the server. */
  readonly isCommand: boolean

  constructor(message: string, isCommand = false) {
    super(message)
    this.isCommand = isCommand
  }
}

/** Claims of a token that may do everything, for an hour from a time on. */
export function claimsAt(now: number): {
  readonly sub: string
  readonly roles: readonly string[]
  readonly exp: number
} {
  return { sub: 'conformance', roles: ['ADMIN', 'USER'], exp: Math.floor(now / 1_000) + 3_600 }
}

/** Hears what the server says first, and signs in. Throws Unusable where there is no use in making any check. */
export async function meet(target: Target): Promise<ServerFacts> {
  const { url, timeoutMs } = target
  const peer = await open(url, timeoutMs)
  try {
    const sentAt = Date.now()
    const { optional, protocolVersion, serverTime } = await greeting(peer, url)
    const offset = typeof serverTime === 'number' ? serverTime - (sentAt + Date.now()) / 2 : 0
    const facts = {
      isOpen: optional === true,
      protocolVersion: typeof protocolVersion === 'number' ? protocolVersion : 0,
      // Clocks of one machine differ by the time that the first message took.
      clockOffsetMs: Math.abs(offset) < 1_000 ? 0 : offset,
    }
    if (!facts.isOpen) {
      await signIn(peer, target, facts)
      await checkRights(peer, Date.now() + facts.clockOffsetMs)
    }
    return facts
  } finally {
    peer.end()
  }
}

async function open(url: string, timeoutMs: number): Promise<Peer> {
  try {
    return await Peer.open(url, 'json', timeoutMs)
  } catch (error) {
    const { code, message } = error as Error & { readonly code?: string }
    throw new Unusable(`nobody answers at ${url}: ${inWords(code ?? '', message.split('\n')[0] ?? '')}`)
  }
}

/** What may be wrong with an address. */
function inWords(code: string, message: string): string {
  const status = /^Unexpected server response: (\d+)/.exec(message)?.[1]
  if (status !== undefined) {
    return `HTTP ${status} instead of a WebSocket. Is the path right? A Syncline server takes WebSockets on /ws.`
  }
  if (code === 'ECONNREFUSED') return 'nothing listens there. Does the server run, and are host and port right?'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'there is no host of this name.'
  if (code === 'EPROTO') return 'it does not speak TLS there. Is it ws:// instead of wss://?'
  if (/CERT|SELF_SIGNED/.test(code))
    return `its certificate is not trusted (${message}). NODE_EXTRA_CA_CERTS names others.`
  return `${message}.`
}

async function greeting(peer: Peer, url: string): ReturnType<Peer['take']> {
  try {
    return await peer.take('AUTH_REQUIRED')
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Unusable(
      `a WebSocket opens at ${url}, but no Syncline server speaks: the first message is AUTH_REQUIRED (SE3), and there was ${error.seen}.`,
    )
  }
}

async function signIn(peer: Peer, { url, token, secret }: Target, facts: ServerFacts): Promise<void> {
  if (token === undefined && secret === undefined) {
    const dev = new URL('/dev/token', url.replace(/^ws/, 'http')).href
    throw new Unusable(
      `the server asks for a token. Give one of a user who may do everything by --token, or the secret that signs its tokens by --secret, which shows more. A development server gives tokens at ${dev}.`,
      true,
    )
  }
  const given = token ?? signToken(secret ?? '', claimsAt(Date.now() + facts.clockOffsetMs))
  peer.send({ type: 'AUTH', token: given })
  const answer = await peer
    .takeAny('an answer to AUTH', ({ type }) => type === 'AUTH_ACK' || type === 'AUTH_FAIL' || type === 'ERROR')
    .catch((error: unknown) => {
      throw new Unusable(`the server does not answer AUTH: ${error instanceof Failure ? error.seen : String(error)}.`)
    })
  if (answer.type === 'AUTH_ACK') return
  const why = answer.type === 'AUTH_FAIL' ? String(answer['error']) : describe(answer)
  throw new Unusable(
    `the server refuses the ${token === undefined ? 'token made with --secret' : 'token'}: ${why}`,
    true,
  )
}

/** Says once that the user may not do everything, which otherwise every other check would say in its own way. */
async function checkRights(peer: Peer, millis: number): Promise<void> {
  const name = `conformance-rights-${randomBytes(4).toString('hex')}`
  const op = { mapName: name, key: 'a', record: { value: 1, timestamp: { millis, counter: 0, nodeId: name } } }
  const gone = { ...op, record: { value: null, timestamp: { millis, counter: 1, nodeId: name } } }
  const ops = [
    { ...op, id: 'put', opType: 'PUT' },
    { ...gone, id: 'remove', opType: 'REMOVE' },
  ]
  peer.send({ type: 'OP_BATCH', payload: { ops } })
  peer.send({ type: 'QUERY_SUB', payload: { queryId: name, mapName: name, query: {} } })
  peer.send({ type: 'COUNTER_REQUEST', payload: { name } })
  peer.send({ type: 'TOPIC_SUB', payload: { topic: name } })
  peer.send({ type: 'TOPIC_PUB', payload: { topic: name, data: 1 } })
  peer.send({ type: 'ROOM_JOIN', payload: { room: name, presence: {} } })
  peer.send({ type: 'LOCK_REQUEST', payload: { requestId: name, name, ttl: 1_000 } })
  // What else is wrong with the answers, or that there are none, is for the checks to find.
  await peer.settle().catch(() => undefined)
  const refused = peer.inbox
    .flatMap(({ payload }) => [payload, ...((payload['results'] as (typeof payload)[] | undefined) ?? [])])
    .find(({ errorCode }) => errorCode === 'FORBIDDEN')
  if (refused === undefined) return
  const why = refused['message'] ?? refused['error'] ?? refused['reason'] ?? 'FORBIDDEN.'
  throw new Unusable(
    `the user of the token may not do everything, which the checks need: ${String(why)} Give a token of one who has the role ADMIN, or a policy that allows ALL on "*".`,
    true,
  )
}
