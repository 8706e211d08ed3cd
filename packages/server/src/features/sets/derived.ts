import { rowCount } from '../../store/rows.ts'
import type { Entry, MapState } from '../../store/map-state.ts'

/** Parts that are taken in between two turns of others. */
const PARTS_PER_STEP = 32

/**
 * What is made of a map, part by part, and from then on takes in what the map's log has had since. In steps. It is made
 * anew where deletions were forgotten that it had not seen: the log says nothing of them any more.
 */
export abstract class Derived<Part> {
  protected readonly map: MapState
  /** What changed up to here is in it. */
  #through = -1
  /** Settles when it is up to date; undefined while nobody works on it. */
  working: Promise<void> | undefined

  constructor(map: MapState) {
    this.map = map
  }

  /** About how many parts must be looked at before it is up to date, less those that changed lately. */
  get work(): number {
    return this.#through < this.map.pruned.seq ? rowCount(this.map) : 0
  }

  /** Takes in what it lacks, in steps. */
  *catchUp(): Generator<void, void> {
    const { log } = this.map
    for (;;) {
      // Whoever has seen all up to the latest deletion that was forgotten has seen that it was one.
      if (this.#through < this.map.pruned.seq) yield* this.#makeAnew()
      else if (this.#through < log.head) this.#takeChanged()
      else return
      yield
    }
  }

  /** Takes in at once what it lacks, which is to be little. */
  catchUpNow(): void {
    const steps = this.catchUp()
    while (steps.next().done !== true);
  }

  *#makeAnew(): Generator<void, void> {
    const { log, pruned } = this.map
    this.clear()
    this.#through = Math.max(log.head, pruned.seq)
    let count = 0
    for (const part of this.parts()) {
      this.put(part)
      if (++count % PARTS_PER_STEP === 0) yield
    }
  }

  #takeChanged(): void {
    const { log } = this.map
    const changed = new Set<Part>()
    let through = log.head
    let count = 0
    log.since(this.#through, (entry) => {
      changed.add(this.partOf(entry))
      if (++count < PARTS_PER_STEP) return true
      through = entry.seq
      return false
    })
    for (const part of changed) this.put(part)
    this.#through = through
  }

  /** All parts of the map. */
  protected abstract parts(): Iterable<Part>
  /** The part that an entry belongs to. */
  protected abstract partOf(entry: Entry): Part
  /** Nothing is in it. */
  protected abstract clear(): void
  /** Takes a part in as it is now. */
  protected abstract put(part: Part): void
}
