import { SynclineError } from '../../errors.ts'
import type { Feature, Kernel } from '../../feature.ts'

/** The answers to writes. */
export function maps({ outbox }: Kernel): Feature {
  return {
    handlers: {
      OP_ACK: ({ payload }) => outbox.acknowledged(payload),
      OP_REJECTED: ({ payload }) => outbox.refused(payload.opId, new SynclineError(payload.errorCode, payload.reason)),
    },
  }
}
