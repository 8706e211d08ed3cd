import type { ClientEnv } from '../env.ts'
import type { OpenStorage } from '../storage/storage.ts'

const storedName = (storageId: string): string => `syncline:${storageId}`
/** The lock that a tab holds as long as it lives. */
export const lockName = (storageId: string, nodeId: string): string => `${storedName(storageId)}:${nodeId}`

/** Who this tab is: the node of its stamps, and the owner of its rows in the queue. */
export interface Identity {
  readonly nodeId: string
  /** Pages without locks that were in this tab before it, whose writes are now its own. */
  readonly left: readonly string[]
  readonly release: () => void
}

/**
 * Takes the node id that this tab had before a reload, or a new one where a copy of this tab holds that, or another tab
 * has taken its writes. Without locks, which would tell, each page takes a new one.
 */
export async function claimIdentity(env: ClientEnv, storageId: string, storage: OpenStorage): Promise<Identity> {
  const { locks, tab } = env
  const name = storedName(storageId)
  if (locks === undefined) {
    const left = tab.get(name)?.split(' ') ?? []
    tab.set(name, undefined)
    const nodeId = env.uniqueId()
    // Only a page that is left says who it was, so that a copy of one that lives knows nothing.
    const leave = (): void => tab.set(name, [tab.get(name), nodeId].filter(Boolean).join(' '))
    const stop = env.onLeave?.(leave)
    const release = (): void => {
      stop?.()
      leave()
    }
    return { nodeId, left, release }
  }
  let nodeId = tab.get(name)
  for (;;) {
    const candidate = nodeId ?? env.uniqueId()
    const release = await locks.tryAcquire(lockName(storageId, candidate))
    if (release !== undefined && (nodeId === undefined || (await hasMark(storage, candidate)))) {
      tab.set(name, candidate)
      return { nodeId: candidate, left: [], release }
    }
    release?.()
    nodeId = undefined
  }
}

/** The stamps that a node id can have issued are known. */
async function hasMark(storage: OpenStorage, nodeId: string): Promise<boolean> {
  try {
    return await storage.transaction(
      'readonly',
      async (tx) => (await tx.get('meta', ['reserved', nodeId])) !== undefined,
    )
  } catch {
    return false
  }
}

/** A tab whose storage fails takes a new node id when it is reloaded: its stamps are no longer reserved. */
export function forgetIdentity(env: ClientEnv, storageId: string): void {
  env.tab.set(storedName(storageId), undefined)
}
