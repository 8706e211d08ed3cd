import type { SynclineError } from '../errors.ts'

/** How many milliseconds the server wants to be left alone by a request that it has refused for now; 0 if it did not say. */
export function retryAfterOf({ details }: SynclineError): number {
  return (details as { retryAfterMs?: number } | undefined)?.retryAfterMs ?? 0
}
