import { ERRORS, type LockGranted, type LockReleased, type WireError } from '@syncline/protocol'
import type { Handlers, Kernel } from '../../feature.ts'
import { forbidden, lockResource } from '../../inbound/authorize.ts'
import type { Session } from '../../sessions/session.ts'
import type { LockOutcome, LockService } from './service.ts'

/** LOCK_REQUEST and LOCK_RELEASE. */
export function lockHandlers(kernel: Kernel, service: LockService): Handlers {
  return {
    LOCK_REQUEST: {
      handle: (session, { payload }) => {
        const { requestId, name, ttl, waitMs, fencingToken } = payload
        if (!mayLock(kernel, session, name)) return refusal(requestId, name, forbidden(lockResource(name), 'PUT'))
        const userId = session.principal?.userId ?? ''
        const ask = { userId, requestId, name, ttlMs: ttl, waitMs, token: fencingToken }
        return {
          later: (deliver) => {
            service.request(session, ask, (outcome) => {
              // Whoever gets the lock has been sent what was written under it before.
              if ('token' in outcome) kernel.feed.dispatch()
              deliver(answer(requestId, name, outcome))
            })
          },
        }
      },
    },
    LOCK_RELEASE: {
      handle: (session, { payload: { requestId, name, fencingToken } }) => {
        const error = service.release(session, name, fencingToken, requestId)
        if (error !== undefined) return refusal(requestId, name, error)
        return released(requestId, name)
      },
    },
  }
}

/** Takes from a session the locks to which its user has no right, or that another user took, and tells it so. */
export function withdrawLocks(kernel: Kernel, service: LockService, session: Session): void {
  const error = (name: string): WireError => forbidden(lockResource(name), 'PUT')
  const isAllowed = (name: string, userId: string): boolean =>
    session.principal?.userId === userId && mayLock(kernel, session, name)
  for (const { requestId, name } of service.withdraw(session, isAllowed, error)) {
    session.send(refusal(requestId, name, error(name)))
  }
}

/** Locks are resources of the policies that maps are resources of. */
function mayLock(kernel: Kernel, session: Session, name: string): boolean {
  return session.rights(kernel.authorizer, lockResource(name)).write?.canPut === true
}

function answer(requestId: string, name: string, outcome: LockOutcome): LockGranted | LockReleased {
  if ('errorCode' in outcome) return refusal(requestId, name, outcome)
  const { token, ttlMs } = outcome
  return { type: 'LOCK_GRANTED', payload: { requestId, name, fencingToken: token, ttl: ttlMs } }
}

function released(requestId: string | undefined, name: string): LockReleased {
  return {
    type: 'LOCK_RELEASED',
    payload: { ...(requestId === undefined ? {} : { requestId }), name, success: true },
  }
}

function refusal(requestId: string | undefined, name: string, error: WireError): LockReleased {
  const { errorCode, message, details } = error
  return {
    type: 'LOCK_RELEASED',
    payload: {
      ...(requestId === undefined ? {} : { requestId }),
      name,
      success: false,
      error: message,
      errorCode,
      code: ERRORS[errorCode].status,
      ...(details === undefined ? {} : { details }),
    },
  }
}
