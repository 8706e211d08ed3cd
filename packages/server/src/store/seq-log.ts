import type { Entry } from './map-state.ts'

/**
 * The order in which a map's records last changed. Appending supersedes an entry's earlier place; places that are
 * superseded are skipped by readers and dropped when they outnumber the others.
 *
 * Everyone who follows a map reads this log from a seq of their own, so that a slow follower costs no queue: what it
 * missed is here, each record once, in its present state and its latest place.
 */
export class SeqLog {
  #seqs: number[] = []
  #entries: Entry[] = []
  /** Milliseconds at which the changes arrived. They never fall. */
  #arrivals: number[] = []
  #stale = 0
  /** A position after the last place, where something happened that left no record. */
  #mark = 0

  /** Gives the entry a later place. `seq` is greater than every seq in the log, and already the entry's own. */
  append(entry: Entry, seq: number, isNew: boolean): void {
    if (!isNew) this.#stale++
    this.#seqs.push(seq)
    this.#entries.push(entry)
    this.#arrivals.push(entry.arrival.millis)
    this.#compactIfDue()
  }

  /** An entry is no longer of this log: its seq is another one now. */
  leave(): void {
    this.#stale++
    this.#compactIfDue()
  }

  /** Moves the head on to a position that is no record's. */
  mark(seq: number): void {
    this.#mark = Math.max(this.#mark, seq)
  }

  /** Seq of the latest change, 0 in an empty log. */
  get head(): number {
    return Math.max(this.#mark, this.#seqs.at(-1) ?? 0)
  }

  /** Calls `visit` for each entry that changed after `seq`, in seq order, until it returns false. */
  since(seq: number, visit: (entry: Entry) => boolean): void {
    for (let i = this.#firstAfter(seq); i < this.#seqs.length; i++) {
      const entry = this.#entries[i] as Entry
      if (entry.seq === this.#seqs[i] && !visit(entry)) return
    }
  }

  /** The greatest seq of what had arrived before a millisecond began, 0 where there is none. */
  seqBefore(millis: number): number {
    let low = 0
    let high = this.#arrivals.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#arrivals[middle] as number) < millis) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : (this.#seqs[low - 1] as number)
  }

  /** How many changes `since` may look at from a seq on: at least those that it visits. */
  countAfter(seq: number): number {
    return this.#seqs.length - this.#firstAfter(seq)
  }

  #firstAfter(seq: number): number {
    const seqs = this.#seqs
    let low = 0
    let high = seqs.length
    // Followers are mostly a few places behind the head: look there before halving the whole log.
    for (let step = 8; step < high; step *= 8) {
      if ((seqs[high - step] as number) <= seq) {
        low = high - step + 1
        break
      }
    }
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((seqs[middle] as number) <= seq) low = middle + 1
      else high = middle
    }
    return low
  }

  #compactIfDue(): void {
    if (this.#stale > 1024 && this.#stale > this.#seqs.length / 2) this.#compact()
  }

  #compact(): void {
    const seqs: number[] = []
    const entries: Entry[] = []
    const arrivals: number[] = []
    for (let i = 0; i < this.#seqs.length; i++) {
      const entry = this.#entries[i] as Entry
      if (entry.seq !== this.#seqs[i]) continue
      seqs.push(entry.seq)
      entries.push(entry)
      arrivals.push(entry.arrival.millis)
    }
    this.#seqs = seqs
    this.#entries = entries
    this.#arrivals = arrivals
    this.#stale = 0
  }
}
