import type { Env } from '@syncline/core'
import { errorText, within } from './env.ts'
import type { Feature } from './feature.ts'
import type { Store } from './store/store.ts'

/** Milliseconds that storage gets to close its files once the time to write is up. */
const CLOSE_GRACE_MS = 250

/** Stops a feature. One that cannot stop keeps no other from it, and nothing from being stored. */
export async function stopFeature(env: Env, name: string, feature: Feature, timeoutMs: number): Promise<void> {
  try {
    const stopping = Promise.resolve(feature.stop?.())
    if (!(await within(env, timeoutMs + CLOSE_GRACE_MS, stopping)))
      env.log('error', 'A feature did not stop in time', { feature: name })
  } catch (error) {
    env.log('error', `Feature '${name}' could not stop`, { error: errorText(error) })
  }
}

/** Closes the store. Answers why something may not be stored, if so: the rest of the server stops all the same. */
export async function closeStore(
  env: Env,
  store: Store | undefined,
  timeoutMs: number,
  shutdownTimeoutMs: number,
): Promise<Error | undefined> {
  try {
    // The store keeps to the time by itself; what it asks of storage after that may hang as well.
    if (await within(env, timeoutMs + CLOSE_GRACE_MS, store?.close(timeoutMs))) return undefined
    return new Error(
      `Storage did not answer within ${shutdownTimeoutMs} ms: what it had not confirmed may not be stored.`,
    )
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}
