// This module loads nothing: patches have to be in place before any product is loaded.

/** A text of a product's module that is replaced when the module is loaded. */
export interface Patch {
  /** The end of the module's path. */
  readonly file: string
  readonly from: string
  readonly to: string
}

/** A fault that is planted to see whether it is found. It is put on from outside: products know nothing of mutants. */
export interface Mutant {
  readonly name: string
  /** What is wrong with the product then. */
  readonly fault: string
  /** Modules are changed as they are loaded. Without patches the world hands in a port that misbehaves: `WRAPPERS`. */
  readonly patches?: readonly Patch[]
}

/** Every planted fault. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'ack-before-flush',
    fault: 'Storage answers a write before it is flushed.',
  },
  {
    name: 'seq-reused',
    fault: 'What was set aside is forgotten in a crash, so that seqs are handed out again.',
  },
  {
    name: 'lost-ranges-untold',
    fault: 'After a crash the server does not say which seqs it may have lost, so that nobody pushes.',
  },
  {
    name: 'slow-follower-skips',
    fault: 'A client that reads slowly is not sent an event, and its cursor moves on.',
  },
  {
    name: 'cursor-before-records',
    fault: 'The client stores the cursor in a transaction of its own, before the records.',
  },
  {
    name: 'op-dropped-at-ack',
    fault: 'A write leaves the overlay when it is acknowledged, before base shows it.',
    patches: [
      {
        file: 'packages/client/src/offline/replica.ts',
        from: '    if (seq > position) return false\n    if (!this.base.whole) return true',
        to: '    if (seq >= 0) return position >= 0',
      },
    ],
  },
  {
    name: 'op-dropped-at-position',
    fault: 'A write leaves the overlay when the cursor has reached its position, though its record is still to come.',
    patches: [
      {
        file: 'packages/client/src/offline/replica.ts',
        from: '    if (!this.base.whole) return true',
        to: '    return true',
      },
    ],
  },
  {
    name: 'equal-stamps-keep-local',
    fault: 'Of two writes under one stamp each replica keeps the one that it saw first.',
    patches: [
      {
        file: 'packages/core/src/crdt/merge.ts',
        from: '  if (a === b) return a\n  if (a.fields',
        to: '  if (a === b || compareStamps(a.base, b.base) === 0) return raiseTimestamp(a, b.timestamp)\n  if (a.fields',
      },
    ],
  },
  {
    name: 'patch-resurrects',
    fault: 'A field write to a record that was removed brings it back.',
    patches: [
      {
        file: 'packages/core/src/crdt/merge.ts',
        from: '  const shown = isMap(record.value) ? { ...record.value } : undefined',
        to: '  const shown = isMap(record.value) ? { ...record.value } : {}',
      },
    ],
  },
  {
    name: 'acked-not-resent',
    fault: 'After a reconnect the client does not send again what was acknowledged but not seen.',
    patches: [
      {
        file: 'packages/client/src/session/outbox.ts',
        from: '      if (op.refusal === undefined) this.#waiting.add(op)\n    }\n    this.#backoff.stop()',
        to: '      if (op.refusal === undefined && !op.wasAcked) this.#waiting.add(op)\n    }\n    this.#backoff.stop()',
      },
    ],
  },
  {
    name: 'page-jumps-to-head',
    fault: 'The first page of a diff carries the cursor of the last.',
    patches: [
      {
        file: 'packages/server/src/outbound/followers.ts',
        from: '    if (!more) seq = Math.max(seq, map.log.head)',
        to: '    seq = Math.max(seq, map.log.head)',
      },
    ],
  },
  {
    name: 'conflict-untold',
    fault: 'The application does not hear that its write lost.',
    patches: [
      {
        file: 'packages/client/src/offline/replica.ts',
        from: '    if (conflict !== undefined) this.#host.conflict(conflict)',
        to: '',
      },
    ],
  },
  {
    name: 'future-accepted',
    fault: 'The server takes stamps from the future, which nobody can override.',
    patches: [
      {
        file: 'packages/core/src/clock/drift.ts',
        from: '  return stamp.millis - wallMs > maxDriftMs',
        to: '  return stamp.millis - wallMs > maxDriftMs * 1e6',
      },
    ],
  },
  {
    name: 'refused-flush-forgotten',
    fault: 'What a full disk refused is not written again.',
    patches: [
      {
        file: 'packages/server/src/store/persister.ts',
        from: '        for (const entry of entries) if (entry.unstoredBytes === 0) this.#collect(entry)\n',
        to: '',
      },
    ],
  },
  {
    name: 'gap-forgotten',
    fault: 'After a crash a cursor from between two heads is resumed at its position.',
    patches: [
      {
        file: 'packages/server/src/features/merkle-sync/service.ts',
        from: 'gap !== undefined && this.#isLost(gap.head) ? safe : parsed.seq',
        to: 'parsed.seq',
      },
    ],
  },
  {
    name: 'queue-stamped-anew',
    fault: 'After a refused stamp the whole queue gets new stamps, and comes to lie over what was written after it.',
    patches: [
      {
        file: 'packages/client/src/session/outbox.ts',
        from: 'isSkewed(op) || this.#isAfterStale(op)',
        to: 'isSkewed(op) || skewedFrom !== undefined',
      },
    ],
  },
]
