import type { LwwRecord } from '@syncline/core'
import type { MapKind, ReceivedOp, ReceivedRecord, WireError, WriteConcern } from '@syncline/protocol'
import type { PushGrant, WriteGrant } from '../inbound/authorize.ts'
import type { Entry } from './map-state.ts'

/** Changes to one map under one right to make them. Each is taken or refused by itself. */
export type CommitRequest = WriteRequest | PushRequest

/** Ops of one writer. */
export interface WriteRequest {
  readonly grant: WriteGrant
  readonly ops: readonly ReceivedOp[]
  /** How much must have happened before the ops are acknowledged. One that this server cannot give is refused. */
  readonly level: WriteConcern
  /** Says of which locks the writer may carry a fence; without it, of none. */
  readonly mayFence?: ((name: string) => boolean) | undefined
  /** The nodes of a counter that the ops raise become the writer's, where they are nobody's yet. By default they do. */
  readonly isClaim?: boolean
}

/** Records that a client holds and the server may have lost, with all their stamps. */
interface PushRequest {
  readonly grant: PushGrant
  readonly records: readonly PushedRecord[]
  /** What a map becomes that has no kind yet, `lww` by default. */
  readonly kind?: MapKind | undefined
  readonly level: WriteConcern
  /** Its sender knows all deletions that are forgotten: what it holds is taken, however old. By default it may not. */
  readonly hasMissedNone?: boolean
}

/** A record in normal form and its key. */
export interface PushedRecord {
  readonly key: string
  readonly record: ReceivedRecord
}

/** What became of one write. */
export type CommitOutcome =
  | {
      readonly ok: true
      /** Position of the commit; of the record's latest one where the write changed nothing. */
      readonly seq: number
      readonly entry: Entry
      readonly changed: boolean
      /** The record is now exactly what was sent. */
      readonly exact: boolean
      /** Accepted, and lost at once to a newer write. */
      readonly superseded: boolean
    }
  | { readonly ok: false; readonly error: WireError }

/** Told of every change of a record as it is made: what it was before, if it was anything, and which user wrote. */
export type CommitObserver = (entry: Entry, before: LwwRecord | undefined, userId: string) => void
