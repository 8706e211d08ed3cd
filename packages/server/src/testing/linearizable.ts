/** Something that a client asked for, and what it was answered. */
export interface Operation<Action> {
  readonly action: Action
  /** A place in the order of everything that happened: when it was asked, and when its answer came. */
  readonly invokedAt: number
  /** `Infinity` where no answer came: it may have happened at any time since, or never. */
  readonly returnedAt: number
}

/** What a thing is supposed to do: its state after an action, or undefined where the action cannot happen in it. */
export interface Model<State, Action> {
  readonly initial: State
  readonly step: (state: State, action: Action) => State | undefined
  /** The same text for the same state. */
  readonly keyOf: (state: State) => string
}

/**
 * Says whether a history can be explained by operations that happened one at a time, each between its question and its
 * answer. Searches as Wing and Gong (1993) do, and remembers which sets of operations led to which state (Lowe, 2017).
 */
export function isLinearizable<State, Action>(
  history: readonly Operation<Action>[],
  { initial, step, keyOf }: Model<State, Action>,
): boolean {
  const operations = history.toSorted((a, b) => a.invokedAt - b.invokedAt)
  const answered = operations.filter(({ returnedAt }) => returnedAt < Infinity).length
  const seen = new Set<string>()
  const done = new Set<number>()

  const search = (state: State, answeredDone: number): boolean => {
    if (answeredDone === answered) return true
    const mark = `${keyOf(state)}|${[...done].toSorted((a, b) => a - b).join()}`
    if (seen.has(mark)) return false
    seen.add(mark)
    // Nothing can come before what had been answered when it was asked.
    let firstAnswer = Infinity
    for (const [i, { returnedAt }] of operations.entries()) {
      if (!done.has(i)) firstAnswer = Math.min(firstAnswer, returnedAt)
    }
    for (const [i, { action, invokedAt, returnedAt }] of operations.entries()) {
      if (invokedAt > firstAnswer) break
      if (done.has(i)) continue
      const next = step(state, action)
      if (next === undefined) continue
      done.add(i)
      if (search(next, answeredDone + (returnedAt < Infinity ? 1 : 0))) return true
      done.delete(i)
    }
    return false
  }
  return search(initial, 0)
}
