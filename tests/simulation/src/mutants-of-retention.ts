import type { Mutant } from './mutants.ts'

/** Faults of what ends, is deleted and is forgotten. */
export const RETENTION_MUTANTS: readonly Mutant[] = [
  {
    name: 'forgetting-untold',
    fault: 'The server forgets old deletions, and followers do not hear of it.',
    foundBy: 0,
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
    foundBy: 33,
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
    foundBy: 11,
    patches: [
      {
        file: 'packages/server/src/store/commit.ts',
        from: 'compareStamps(incoming.timestamp, prunedThrough) <= 0',
        to: 'compareStamps(incoming.timestamp, prunedThrough) < -1',
      },
    ],
  },
  {
    name: 'old-cursor-resumed',
    fault: 'Who has missed deletions that are forgotten goes on from where it was.',
    foundBy: 14,
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
    foundBy: 20,
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
    foundBy: 0,
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
    foundBy: 0,
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
    foundBy: 3,
    patches: [
      {
        file: 'packages/client/src/session/restamps.ts',
        from: 'for (const op of this.#stale) if (this.#isOvertaken(op)) this.#stale.delete(op)',
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
    name: 'stale-edit-renewed',
    fault: 'An edit of what was deleted and forgotten is stamped anew and brings it back.',
    foundBy: 9,
    patches: [
      {
        file: 'packages/client/src/session/refusals.ts',
        from: '    else if (op.inBase || op.overtaken',
        to: '    else if (op.overtaken',
      },
    ],
  },
  {
    name: 'overtaken-comes-up',
    fault: 'A write that another one has replaced comes up when that one is deleted and forgotten.',
    foundBy: 11,
    patches: [
      {
        file: 'packages/client/src/offline/replica.ts',
        from: 'if (op.overtaken !== undefined || compareStamps(by',
        to: 'if (op.overtaken === undefined || compareStamps(by',
      },
    ],
  },
  {
    name: 'removed-item-stays',
    fault: 'An item that somebody has removed is in sight again, as refused, when its removal is forgotten.',
    foundBy: 5,
    patches: [
      {
        file: 'packages/client/src/session/refusals.ts',
        from: "    if (op.overtaken === 'own' || ",
        to: "    if (op.overtaken === 'own' && ",
      },
    ],
  },
]
