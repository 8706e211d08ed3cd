import { CLOSE_CODES, ERRORS, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, wireError } from '@syncline/protocol'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { Principal } from '../../inbound/authorize.ts'
import type { Session } from '../../sessions/session.ts'
import type { SessionService } from './service.ts'

/** AUTH and PING. */
export function sessionHandlers(kernel: Kernel, service: SessionService): Handlers {
  return {
    AUTH: {
      isPublic: true,
      handle: (session, message): Reply => {
        const version = message.protocolVersion ?? PROTOCOL_VERSION
        if (version < OLDEST_PROTOCOL_VERSION || version > PROTOCOL_VERSION) {
          const text = `This server speaks protocol versions ${OLDEST_PROTOCOL_VERSION} to ${PROTOCOL_VERSION}, the client ${version}.`
          session.refuse(wireError('UNSUPPORTED_VERSION', text), message.type, message.requestId)
          return undefined
        }
        const outcome = service.authenticate(session, message.token)
        if (outcome.kind === 'refused') {
          refuse(session, outcome.reason, message.requestId)
          return undefined
        }
        if (outcome.repeated && message.requestId === undefined) return undefined
        kernel.identify(session, outcome.principal)
        return acknowledge(kernel, outcome.principal)
      },
    },
    PING: {
      isPublic: true,
      handle: (_, message) => ({ type: 'PONG', timestamp: message.timestamp, serverTime: kernel.env.now() }),
    },
  }
}

function acknowledge(kernel: Kernel, principal: Principal): Reply {
  return {
    type: 'AUTH_ACK',
    protocolVersion: PROTOCOL_VERSION,
    userId: principal.userId,
    serverTime: kernel.env.now(),
    databaseId: kernel.store.databaseId,
  }
}

function refuse(session: Session, reason: string, requestId: string | undefined): void {
  const { status } = ERRORS.UNAUTHORIZED
  const failure = { type: 'AUTH_FAIL', error: reason, code: status, errorCode: 'UNAUTHORIZED' } as const
  session.send(requestId === undefined ? failure : { ...failure, requestId })
  session.close(CLOSE_CODES.UNAUTHORIZED, 'Unauthorized')
}
