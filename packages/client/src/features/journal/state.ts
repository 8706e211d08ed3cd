import { journalShapes, type JournalEntry } from '@syncline/protocol/codec'
import { SynclineError, anotherUser, clientClosed } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import { waitFor } from '../../readable.ts'
import type { HistoryEntry, HistoryOptions } from './index.ts'

/** Entries of a page. */
const PAGE = 100

/** A history on its way. */
interface Asking {
  readonly mapName: string
  readonly key: string
  readonly limit: number
  readonly found: JournalEntry[]
  /** Where to read on. */
  from: string
  readonly resolve: (found: readonly JournalEntry[]) => void
  readonly reject: (error: unknown) => void
}

/** Histories that this client has asked for. */
export function start(
  kernel: Kernel,
): LateFeature<HistoryOptions & { readonly key: string }, Promise<readonly HistoryEntry<never>[]>> {
  const askings = new Set<Asking>()
  const askingsById = new Map<string, Asking>()

  function send(asking: Asking): void {
    if (!kernel.isOnline) return
    const { mapName, key, limit, found, from, reject } = asking
    const left = Math.min(PAGE, limit - found.length)
    const page = { mapName, key, limit: left, fromSequence: from, newestFirst: true }
    const refused = (error: SynclineError): void => {
      if (id !== undefined) askingsById.delete(id)
      reject(error)
    }
    const id: string | undefined = kernel.send({ type: 'JOURNAL_READ', requestId: '-', ...page }, refused)
    if (id !== undefined) askingsById.set(id, asking)
  }

  return {
    shapes: journalShapes,
    handlers: {
      JOURNAL_READ_RESPONSE({ requestId, events, hasMore, nextSequence }) {
        const asking = askingsById.get(requestId)
        askingsById.delete(requestId)
        if (asking === undefined || !askings.has(asking)) return
        asking.found.push(...events)
        asking.from = nextSequence
        if (hasMore && asking.found.length < asking.limit) send(asking)
        else asking.resolve(asking.found)
      },
    },
    online() {
      for (const asking of askings) send(asking)
    },
    offline: () => askingsById.clear(),
    userChanged() {
      for (const { reject } of askings) reject(anotherUser())
    },
    async open(mapName, { key, limit = PAGE, ...options }) {
      const onTimeout = (): Error => new SynclineError('TIMEOUT', 'The server did not answer in time.')
      const found = await waitFor<readonly JournalEntry[]>(kernel.env, options, onTimeout, (resolve, reject) => {
        const fault = faultOf(kernel, limit)
        if (fault !== undefined) {
          reject(fault)
          return () => {}
        }
        const asking: Asking = { mapName, key, limit, found: [], from: '0', resolve, reject }
        askings.add(asking)
        const stop = kernel.turn.onClose(() => reject(clientClosed()))
        send(asking)
        return () => {
          stop()
          askings.delete(asking)
        }
      })
      return found.map(({ value, timestamp, metadata }) => ({
        value: value as never,
        at: timestamp.millis,
        by: metadata.userId,
      }))
    },
  }
}

function faultOf({ turn, hasServer }: Kernel, limit: number): SynclineError | undefined {
  if (turn.isClosed) return clientClosed()
  if (!hasServer) return new SynclineError('OFFLINE', 'This client has no server: give it a url.')
  if (Number.isSafeInteger(limit) && limit > 0) return undefined
  return new SynclineError('VALIDATION_ERROR', 'limit must be a whole number above 0.')
}
