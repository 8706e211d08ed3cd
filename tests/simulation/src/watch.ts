import type { LwwRecord } from '@syncline/core'
import type { Kernel } from '@syncline/server'

/** The part of the server that is looked at: the maps in memory. */
export type ServerMap = ReturnType<Kernel['store']['residency']['maps']> extends Iterable<infer M> ? M : never

/** What those who watch one promise see of the run, and whom they tell what they find. */
export interface Watch {
  /** Notes that a promise was broken. */
  fail(rule: string, message: string): void
  /** Counts what happened, to tell whether runs are worth their time. */
  count(what: string): void
  /** The server that runs; undefined while none does. */
  kernel(): Kernel | undefined
  /** A map of the server, as it stands in memory. */
  serverMap(mapName: string): ServerMap | undefined
  /** The records of that map. */
  records(mapName: string): Iterable<readonly [string, LwwRecord]>
  /** Calls back after some virtual milliseconds. */
  after(delayMs: number, run: () => void): void
  /** Milliseconds since the run began. */
  virtualNow(): number
  /** The wall clock of the server, and how long ago it was set. */
  serverNow(): number
  clockSetAgoMs(): number
}
