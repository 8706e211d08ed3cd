import type { Mutant } from './mutants.ts'

/** Faults of queries, sets, counters, locks, topics and rooms. */
export const FEATURE_MUTANTS: readonly Mutant[] = [
  {
    name: 'unstored-count-sent',
    fault: 'A device whose storage fails sends what its next page finds there uncounted.',
    foundBy: 5,
    patches: [
      {
        file: 'packages/client/src/features/counters/index.ts',
        from: '(op.stored && !op.stored.count) || !writer.isStored(op.row.id)',
        to: 'false',
      },
    ],
  },
  {
    name: 'leave-untold',
    fault: 'The subscriber of a live query does not hear that a row has left the result.',
    foundBy: 11,
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
    foundBy: 4,
    patches: [
      {
        file: 'packages/client/src/features/queries/state.ts',
        from: '    this.#join(this.#sorted(entered))',
        to: '    this.rows.push(...entered)',
      },
    ],
  },
  {
    name: 'counted-anew',
    fault: 'What is counted is added anew on each connection.',
    foundBy: 14,
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
    foundBy: 15,
    patches: [
      {
        file: 'packages/client/src/offline/overlay.ts',
        from: 'orRecord: { ...record, tag }',
        to: 'orRecord: { ...record, tag: this.attempts > 1 ? `${tag}x` : tag }',
      },
    ],
  },
  {
    name: 'tokens-begin-again',
    fault: 'Tokens of locks begin anew by the wall clock after a restart.',
    foundBy: 26,
    patches: [
      {
        file: 'packages/server/src/store/reservations.ts',
        from: 'const token = Math.max(stored.token, tokenSeed)',
        to: 'const token = tokenSeed',
      },
    ],
  },
  {
    name: 'old-fence-passes',
    fault: 'A write passes under a token that is older than the latest of its lock.',
    foundBy: 14,
    patches: [
      {
        file: 'packages/server/src/store/fences.ts',
        from: 'return token === latest ?',
        to: 'return token <= (latest ?? 0) ?',
      },
    ],
  },
  {
    name: 'fence-outlives-run',
    fault: 'After a restart a write passes under a token of the server that ended.',
    foundBy: 38,
    patches: [
      {
        file: 'packages/server/src/store/fences.ts',
        from: 'return token === latest ?',
        to: 'return token === latest || latest === undefined ?',
      },
    ],
  },
  {
    name: 'fence-of-free-refused',
    fault: 'Once a lock is free its latest token does not pass any more, though nobody else has had it.',
    foundBy: 3,
    patches: [
      {
        file: 'packages/server/src/store/fences.ts',
        from: 'this.#heldByName.get(name) ?? this.#freeByName.get(name)',
        to: 'this.#heldByName.get(name)',
      },
    ],
  },
  {
    name: 'lock-outlives-connection',
    fault: 'Who waits for a lock does not get it when the connection of its holder ends.',
    foundBy: 26,
    patches: [
      {
        file: 'packages/server/src/features/locks/index.ts',
        from: '    kernel.onSessionClosed((session) => service.releaseAll(session))\n',
        to: '',
      },
    ],
  },
  {
    name: 'impatient-granted',
    fault: 'Who does not wait for a lock gets it though another holds it.',
    foundBy: 1,
    patches: [
      {
        file: 'packages/server/src/features/locks/service.ts',
        from: '    if (lease === undefined) {',
        to: '    if (lease === undefined || waitMs === 0) {',
      },
    ],
  },
  {
    name: 'lease-counted-late',
    fault: 'A client counts its lease from the answer, and believes to have a lock that is given to another.',
    foundBy: 26,
    patches: [
      {
        file: 'packages/client/src/features/locks/asking.ts',
        from: 'new HeldLock(kernel.env, wire, answer, sentAt,',
        to: 'new HeldLock(kernel.env, wire, answer, momentOf(kernel.env),',
      },
    ],
  },
  {
    name: 'published-twice',
    fault: 'What is published reaches subscribers twice.',
    foundBy: 0,
    patches: [
      {
        file: 'packages/server/src/features/topics/service.ts',
        from: '    this.#turn.push(publication)\n',
        to: '    this.#turn.push(publication, publication)\n',
      },
    ],
  },
  {
    name: 'published-in-disorder',
    fault: 'What one connection publishes in a turn reaches subscribers in another order.',
    foundBy: 0,
    patches: [
      {
        file: 'packages/server/src/features/topics/service.ts',
        from: '    const turn = this.#turn\n',
        to: '    const turn = this.#turn.toReversed()\n',
      },
    ],
  },
  {
    name: 'drops-untold',
    fault: 'A subscriber that reads slowly is not told how much it has missed.',
    foundBy: 0,
    patches: [
      {
        file: 'packages/server/src/features/topics/subscriber.ts',
        from: '    for (const [topic, count] of this.missed) this.#tell(topic, count)\n',
        to: '',
      },
    ],
  },
  {
    name: 'member-stays',
    fault: 'A member whose connection has ended is shown for a minute.',
    foundBy: 19,
    patches: [
      {
        file: 'packages/server/src/features/rooms/service.ts',
        from: 'this.#env.after(this.#times.graceMs, ()',
        to: 'this.#env.after(this.#times.graceMs * 60, ()',
      },
    ],
  },
  {
    name: 'leaving-untold',
    fault: 'A room does not tell that a member has left.',
    foundBy: 19,
    patches: [
      {
        file: 'packages/server/src/features/rooms/sender.ts',
        from: 'const head = { room: room.name, ...(left.length === 0 ? {} : { left }) }',
        to: 'const head = { room: room.name }',
      },
    ],
  },
  {
    name: 'window-not-filled',
    fault: 'A live query with a limit does not take in the row that comes after one that has left.',
    foundBy: 1,
    patches: [
      {
        file: 'packages/server/src/features/queries/window-changes.ts',
        from: "    others.push({ key, value: asShown(value), changeType: 'ENTER' })\n",
        to: '',
      },
    ],
  },
  {
    name: 'found-leave-untold',
    fault: 'The subscriber of a live search does not hear that a row is found no more.',
    foundBy: 11,
    patches: [
      {
        file: 'packages/server/src/features/search/live-search.ts',
        from: '    for (const key of before.keys()) if (!after.has(key)) changes.push(leaveOf(key))\n',
        to: '',
      },
    ],
  },
  {
    name: 'found-value-untold',
    fault: 'The subscriber of a live search does not hear that a row has another value.',
    foundBy: 11,
    patches: [
      {
        file: 'packages/server/src/features/search/live-search.ts',
        from: ' && !this.#changedKeys.has(key)\n',
        to: '\n',
      },
    ],
  },
]
