import type { Mutant } from './mutants.ts'

/** Faults of storage, following, pushing, clocks, merging and rights. */
export const SYNC_MUTANTS: readonly Mutant[] = [
  {
    name: 'ack-before-flush',
    fault: 'Storage answers a write before it is flushed.',
    foundBy: 0,
  },
  {
    name: 'seq-reused',
    fault: 'What was set aside is forgotten in a crash, so that seqs are handed out again.',
    foundBy: 15,
  },
  {
    name: 'lost-ranges-untold',
    fault: 'After a crash the server does not say which seqs it may have lost, so that nobody pushes.',
    foundBy: 2,
  },
  {
    name: 'slow-follower-skips',
    fault: 'A client that reads slowly is not sent an event, and its cursor moves on.',
    foundBy: 1,
  },
  {
    name: 'cursor-before-records',
    fault: 'The client stores the cursor in a transaction of its own, before the records.',
    foundBy: 0,
  },
  {
    name: 'op-dropped-at-ack',
    fault: 'A write leaves the overlay when it is acknowledged, before base shows it.',
    foundBy: 0,
    patches: [
      {
        file: 'packages/client/src/offline/replica.ts',
        from: '    if (seq > position) return false\n    const held',
        to: '    if (seq >= 0) return position >= 0\n    const held',
      },
    ],
  },
  {
    name: 'op-dropped-at-position',
    fault: 'A write leaves the overlay when the cursor has reached its position, though its record is still to come.',
    foundBy: 24,
    patches: [
      {
        file: 'packages/client/src/offline/replica.ts',
        from: '    if (held === undefined) return !this.base.whole',
        to: '    return true',
      },
    ],
  },
  {
    name: 'equal-stamps-keep-local',
    fault: 'Of two writes under one stamp each replica keeps the one that it saw first.',
    foundBy: 1,
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
    foundBy: 1,
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
    foundBy: 42,
    patches: [
      {
        file: 'packages/client/src/session/outbox.ts',
        from: '      if (op.refusal === undefined) this.waiting.add(op)\n    }\n    this.#backoff.stop()',
        to: '      if (op.refusal === undefined && !op.wasAcked) this.waiting.add(op)\n    }\n    this.#backoff.stop()',
      },
    ],
  },
  {
    name: 'page-jumps-to-head',
    fault: 'The first page of a diff carries the cursor of the last.',
    foundBy: 10,
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
    foundBy: 0,
    patches: [
      {
        file: 'packages/client/src/background.ts',
        from: '      if (conflict !== undefined) kernel.conflict(conflict)',
        to: '',
      },
    ],
  },
  {
    name: 'future-accepted',
    fault: 'The server takes stamps from the future, which nobody can override.',
    foundBy: 7,
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
    foundBy: 12,
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
    foundBy: 107,
    patches: [
      {
        file: 'packages/server/src/features/merkle-sync/service.ts',
        from: 'gap !== undefined && this.#isLost(gap.head) ? safe : held',
        to: 'held',
      },
    ],
  },
  {
    name: 'queue-stamped-anew',
    fault: 'After a refused stamp the whole queue gets new stamps, and comes to lie over what was written after it.',
    foundBy: 56,
    patches: [
      {
        file: 'packages/client/src/session/restamps.ts',
        from: 'isSkewed(op) || this.#isAfterStale(op)',
        to: 'isSkewed(op) || skewedFrom !== undefined',
      },
    ],
  },
  {
    name: 'hidden-fields-shown',
    fault: 'Field writes of hidden fields are sent to those who may not see them.',
    foundBy: 10,
    patches: [
      {
        file: 'packages/server/src/outbound/redact.ts',
        from: '    if (allowed.has(name)) fields[name] =',
        to: '    fields[name] =',
      },
    ],
  },
  {
    name: 'rights-outlive-token',
    fault: 'A session goes on when its token has expired.',
    foundBy: 12,
    patches: [
      {
        file: 'packages/server/src/sessions/session-registry.ts',
        from: '(session.principal.expiresAtMs ?? Infinity) <= wall',
        to: '(session.principal.expiresAtMs ?? Infinity) <= 0',
      },
    ],
  },
  {
    name: 'stored-by-others-unread',
    fault: 'What the server has lost, and only a tab that is gone has stored, waits for the next page that is loaded.',
    foundBy: 156,
    patches: [
      {
        file: 'packages/client/src/features/merkle-sync/index.ts',
        from: 'if (isFirst && lost.some(([, to]) => to > askedFrom)) {',
        to: 'if (false) {',
      },
    ],
  },
]
