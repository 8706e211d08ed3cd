/** Who uses something, by name, one after the other. */
export class Turns {
  readonly #queues = new Map<string, (() => void)[]>()

  /** Calls `run` when it is its turn, now if nobody is before it. The function that it returns ends the turn, or the wait. */
  take(name: string, run: () => void): () => void {
    let queue = this.#queues.get(name)
    if (queue === undefined) this.#queues.set(name, (queue = []))
    const own = (): void => run()
    const mine = queue
    mine.push(own)
    if (mine.length === 1) own()
    return () => {
      const at = mine.indexOf(own)
      if (at < 0) return
      mine.splice(at, 1)
      if (mine.length === 0) this.#queues.delete(name)
      else if (at === 0) mine[0]?.()
    }
  }
}
