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
  /** A seed that finds it, so that the test need not search. */
  readonly foundBy: number
  /** Modules are changed as they are loaded. Without patches the world hands in a port that misbehaves: `WRAPPERS`. */
  readonly patches?: readonly Patch[]
}

/** Every planted fault. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'ack-before-flush',
    fault: 'Storage answers a write before it is flushed.',
    foundBy: 1,
  },
  {
    name: 'seq-reused',
    fault: 'What was set aside is forgotten in a crash, so that seqs are handed out again.',
    foundBy: 11,
  },
  {
    name: 'lost-ranges-untold',
    fault: 'After a crash the server does not say which seqs it may have lost, so that nobody pushes.',
    foundBy: 11,
  },
  {
    name: 'slow-follower-skips',
    fault: 'A client that reads slowly is not sent an event, and its cursor moves on.',
    foundBy: 6,
  },
  {
    name: 'cursor-before-records',
    fault: 'The client stores the cursor in a transaction of its own, before the records.',
    foundBy: 1,
  },
  {
    name: 'op-dropped-at-ack',
    fault: 'A write leaves the overlay when it is acknowledged, before base shows it.',
    foundBy: 1,
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
    foundBy: 32,
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
    foundBy: 13,
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
    foundBy: 46,
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
    foundBy: 1,
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
    foundBy: 2,
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
    foundBy: 13,
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
    foundBy: 2,
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
    foundBy: 80,
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
    foundBy: 1405,
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
    foundBy: 13,
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
    name: 'leave-untold',
    fault: 'The subscriber of a live query does not hear that a row has left the result.',
    foundBy: 12,
    patches: [
      {
        file: 'packages/server/src/features/queries/query-group.ts',
        from: "if (this.#valuesByKey.delete(key)) changes.push({ key, value: null, changeType: 'LEAVE' })",
        to: 'this.#valuesByKey.delete(key)',
      },
    ],
  },
  {
    name: 'moved-row-stays',
    fault: 'A row of a live query of a client stays in its place when its value has changed.',
    foundBy: 14,
    patches: [
      {
        file: 'packages/client/src/features/queries/state.ts',
        from: '    this.#join(this.#sorted(entered))',
        to: '    this.rows.push(...entered)',
      },
    ],
  },
  {
    name: 'forgetting-untold',
    fault: 'The server forgets old deletions, and followers do not hear of it.',
    foundBy: 2,
    patches: [
      {
        file: 'packages/server/src/outbound/followers.ts',
        from: '  return usesCursor && prunedSeq < map.pruned.seq ?',
        to: '  return usesCursor && prunedSeq < 0 ?',
      },
    ],
  },
  {
    name: 'forgotten-before-stored',
    fault: 'Followers are told to forget deletions that a crash brings back.',
    foundBy: 113,
    patches: [
      {
        file: 'packages/server/src/store/commit.ts',
        from: '    if ((await this.#persister?.forget(forget, markValues(map.name, pruned))) === false) return 0',
        to: '    void this.#persister?.forget(forget, markValues(map.name, pruned))',
      },
    ],
  },
  {
    name: 'deleted-comes-back',
    fault: 'The server takes writes that are older than the deletions that it has forgotten.',
    foundBy: 93,
    patches: [
      {
        file: 'packages/server/src/store/commit.ts',
        from: '    if (compareStamps(incoming.timestamp, prunedThrough) <= 0)',
        to: '    if (compareStamps(incoming.timestamp, prunedThrough) < -1)',
      },
    ],
  },
  {
    name: 'old-cursor-resumed',
    fault: 'Who has missed deletions that are forgotten goes on from where it was.',
    foundBy: 6,
    patches: [
      {
        file: 'packages/server/src/outbound/cursor.ts',
        from: '  if (cursor.seq < prunedThroughSeq && cursor.floor < prunedThroughSeq) {',
        to: '  if (cursor.seq < 0 && cursor.floor < prunedThroughSeq) {',
      },
      {
        file: 'packages/server/src/outbound/followers.ts',
        from: '  return sentSeq < map.pruned.seq &&',
        to: '  return sentSeq < 0 &&',
      },
    ],
  },
  {
    name: 'marks-forgotten',
    fault: 'After a restart the server does not know what it has forgotten.',
    foundBy: 13,
    patches: [
      {
        file: 'packages/server/src/store/pruned-mark.ts',
        from: '(await storage?.list(PREFIX)) ?? []',
        to: '(await storage?.list(`no ${PREFIX}`)) ?? []',
      },
    ],
  },
  {
    name: 'age-by-stamp',
    fault: 'Deletions are forgotten by the age of their stamps and not of their arrival.',
    foundBy: 2,
    patches: [
      {
        file: 'packages/server/src/store/writable-map.ts',
        from: 'entry.arrival.millis >= arrivedBeforeMs',
        to: 'entry.record.base.millis >= arrivedBeforeMs',
      },
    ],
  },
  {
    name: 'end-under-new-stamp',
    fault: 'What has ended is removed under a stamp of the server, and beats later writes that arrive late.',
    foundBy: 11,
    patches: [
      {
        file: 'packages/server/src/store/commit.ts',
        from: 'wholeWrite(null, entry.record.base)',
        to: 'wholeWrite(null, this.#sequencer.stampAbove(entry.record.timestamp))',
      },
    ],
  },
  {
    name: 'edit-of-deleted-sent',
    fault: 'After a reset the client sends its edits of records that are gone.',
    foundBy: 105,
    patches: [
      {
        file: 'packages/client/src/features/merkle-sync/index.ts',
        from: '      if (op.inBase || op.overtaken !== undefined) tooLate(op)',
        to: '',
      },
    ],
  },
  {
    name: 'renewed-over-later',
    fault: 'A write that was too old is stamped anew over a later one that the server has taken.',
    foundBy: 616,
    patches: [
      {
        file: 'packages/client/src/session/restamps.ts',
        from: 'for (const op of this.#stale) if (this.#isOvertaken(op)) this.#stale.delete(op)',
        to: '',
      },
    ],
  },
  {
    name: 'unstored-count-sent',
    fault: 'A device whose storage fails sends what its next page finds there uncounted.',
    foundBy: 198,
    patches: [
      {
        file: 'packages/client/src/features/counters/index.ts',
        from: 'op.isStoredCounted === false || !writer.isStored(op.row.id)',
        to: 'false',
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
        from: '    if (isFirst) bringStored(replica, page.lost ?? [], askedFrom)',
        to: '',
      },
    ],
  },
  {
    name: 'unanswered-is-new',
    fault: 'A write whose answer was lost is taken for new when the deletions since then are forgotten.',
    foundBy: 170,
    patches: [
      {
        file: 'packages/client/src/session/refusals.ts',
        from: ' || op.wasSent || op.wasAcked) this.tooLate(op, error)',
        to: ') this.tooLate(op, error)',
      },
    ],
  },
  {
    name: 'sent-forgotten',
    fault: 'A page that is loaded does not know which of the writes that it finds were sent.',
    foundBy: 181,
    patches: [
      {
        file: 'packages/client/src/offline/local-data.ts',
        from: '  return isMarked ? { ...row, wasSent: true } : row',
        to: '  return isMarked ? { ...row, wasSent: undefined } : row',
      },
    ],
  },
  {
    name: 'counted-anew',
    fault: 'What is counted is added anew on each connection.',
    foundBy: 15,
    patches: [
      {
        file: 'packages/client/src/session/outbox.ts',
        from: "      op.phase = 'waiting'\n      if (op.refusal === undefined) this.waiting.add(op)",
        to: "      op.phase = 'waiting'\n      if (op.row.type === 'COUNT') this.#kernel.data.overlay.count(op, '+', undefined)\n      if (op.refusal === undefined) this.waiting.add(op)",
      },
    ],
  },
  {
    name: 'tag-made-anew',
    fault: 'What is added to a set gets another tag each time that it is sent, which no removal knows.',
    foundBy: 16,
    patches: [
      {
        file: 'packages/client/src/offline/overlay.ts',
        from: 'orRecord: { ...record, tag }',
        to: 'orRecord: { ...record, tag: this.attempts > 1 ? `${tag}x` : tag }',
      },
    ],
  },
]
