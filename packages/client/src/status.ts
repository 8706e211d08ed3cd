import type { Value } from '@syncline/core'
import { encodeValueJson } from '@syncline/protocol/codec'
import type { SynclineError } from './errors.ts'
import type { LocalData } from './offline/local-data.ts'
import type { Replica } from './offline/replica.ts'
import type { WriteStatus } from './offline/write.ts'
import { Source, type Readable, type Turn } from './readable.ts'
import type { OpenStorage } from './storage/storage.ts'
import type { Connection, ConnectionState } from './transport/connection.ts'

/** How the client is doing. */
export interface Status {
  readonly connection: ConnectionState
  /** Why there is no connection, where that is known. */
  readonly reason?: SynclineError
  /** Writes that the server has not confirmed. */
  readonly pending: number
  /** Writes that the server refused, until they are discarded. */
  readonly rejected: number
  /**
   * Of both, those that are not stored on this device yet: they would be lost with this page. Zero says that `storage`
   * has all of them.
   */
  readonly unstored: number
  /** When the oldest of the pending writes was made, in milliseconds since 1970. */
  readonly oldestPendingAt?: number
  /** Since when (while in sync) or until when (while not) everything here was as on the server. */
  readonly lastSyncedAt?: number
  /** 'pressure': four fifths of the room for pending writes are taken. 'full': further writes throw BACKPRESSURE. */
  readonly queue: 'ok' | 'pressure' | 'full'
  /** What local data survives. 'memory' also where storage fails. */
  readonly storage: OpenStorage['durability']
}

/** One write that the server has not confirmed, or has refused. */
export interface PendingWrite {
  readonly id: string
  /** 'PUT', 'PATCH', 'REMOVE', or 'COUNT' for what is added to a counter. */
  readonly op: string
  /** Map and key, as `todos/t1`; set and key, as `tags/t1`; the map that a counter is, as `counter:votes:t1`. */
  readonly target: string
  readonly at: number
  readonly status: WriteStatus
  /** How often it was sent. */
  readonly attempts: number
  /** Why it was refused, or was not taken the last time. */
  readonly lastError?: SynclineError
}

/** All writes that the server has not confirmed, or has refused, in their order. */
export interface PendingWrites extends Readable<readonly PendingWrite[]> {
  /** Gives a write up: what it showed is gone. One that is on its way may still arrive. */
  discard(id: string): void
  /** The writes with their values, as JSON. */
  export(): Promise<Blob>
}

/** What the client's state is computed from. */
export interface StatusParts {
  readonly turn: Turn
  readonly data: LocalData
  readonly connection: Connection | undefined
  readonly maxPending: number
  readonly now: () => number
  readonly isClosed: () => boolean
}

/**
 * The state of a client, recomputed when it is looked at. `note` is called whenever it may have changed, `restart` when
 * nothing has been in sync yet for the user whose data this is now.
 */
export function statusSource(parts: StatusParts): {
  readonly source: Source<Status>
  readonly note: () => void
  readonly restart: () => void
} {
  const { turn, data, connection, maxPending, now, isClosed } = parts
  const { overlay, used, writer } = data
  let wasSynced = false
  let lastSyncedAt: number | undefined
  const pendingCount = (): number => overlay.ops.size - overlay.refusedCount
  const source = new Source<Status>(turn, (previous) => {
    const pending = pendingCount()
    const oldest = pending === 0 ? undefined : Array.from(overlay.ops.values()).find((op) => op.refusal === undefined)
    const next: Status = {
      connection: isClosed() ? 'closed' : (connection?.state ?? 'offline'),
      ...(connection?.reason === undefined ? {} : { reason: connection.reason }),
      pending,
      rejected: overlay.refusedCount,
      unstored: data.unstored,
      ...(oldest === undefined ? {} : { oldestPendingAt: oldest.row.at }),
      ...(lastSyncedAt === undefined ? {} : { lastSyncedAt }),
      queue: pending >= maxPending ? 'full' : pending >= maxPending * 0.8 ? 'pressure' : 'ok',
      storage: writer.durability,
    }
    const names = Object.keys({ ...previous, ...next }) as (keyof Status)[]
    return names.every((name) => previous?.[name] === next[name]) ? (previous as Status) : next
  })
  const isSettled = ({ link }: Replica): boolean => link === 'live' || link === 'refused'
  return {
    source,
    note() {
      const isSynced = connection?.state === 'online' && pendingCount() === 0 && [...used.values()].every(isSettled)
      if (isSynced !== wasSynced) lastSyncedAt = now()
      wasSynced = isSynced
      source.changed()
    },
    restart() {
      wasSynced = false
      lastSyncedAt = undefined
    },
  }
}

/** The list of pending writes. */
export function pendingSource(
  turn: Turn,
  data: LocalData,
  discard: (id: string) => void,
): Source<readonly PendingWrite[]> & PendingWrites {
  const source = new Source<readonly PendingWrite[]>(turn, () =>
    Array.from(data.overlay.ops.values(), ({ row, refusal, phase, wasAcked, attempts, lastError }) => {
      // After a reload only what is stored with the write is known.
      const error = refusal ?? lastError
      return {
        id: row.id,
        op: row.type,
        target:
          row.type === 'COUNT' ? row.mapName : `${row.mapName}/${row.key.slice(row.tag ? row.tag.length + 1 : 0)}`,
        at: row.at,
        status: refusal !== undefined ? 'rejected' : wasAcked ? 'acked' : phase === 'sent' ? 'sent' : 'pending',
        attempts,
        ...(error === undefined ? {} : { lastError: error }),
      }
    }),
  )
  return Object.assign(source, {
    discard,
    export: async () => {
      const rows = Array.from(data.overlay.ops.values(), (op) => op.toRow())
      return new Blob([encodeValueJson(rows as unknown as Value)], { type: 'application/json' })
    },
  })
}
