import type { Feature, Kernel } from '../../feature.ts'

/** The answers to writes. */
export function maps({ outbox }: Kernel): Feature {
  return {
    handlers: {
      OP_ACK: ({ payload }) => outbox.acknowledged(payload),
    },
  }
}
