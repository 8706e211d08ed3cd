import {
  counter,
  defineContract,
  set,
  type Client,
  type StandardSchema,
  type Write,
  type WriteOptions,
} from '@syncline/client'
import type { Tab } from './tab.ts'
import type { World } from './world.ts'

/** Any text will do. */
const TEXT: StandardSchema<string, string> = {
  '~standard': { version: 1, vendor: 'simulation', validate: (value) => ({ value: value as string }) },
}

/** What the tabs of a run have beside maps, where the run has it. */
export const TALLIES = defineContract({ sets: { tags: set({ schema: TEXT }) }, counters: { votes: counter() } })

/** The map of the set. */
const TAGS = 'tags'

/** Counts are powers of two, so that the sum tells which of them are in it; so many fit into it. */
const MOST_COUNTS = 40

interface Deed {
  readonly tab: Tab
  /** Of an addition: its tab has shown that somebody removed it. */
  isSeenGone: boolean
  readonly process: Tab['process']
  isPersisted: boolean
  isStored: boolean
  isRefused: boolean
}

/** What is added to a set and removed from it, and what is counted, and what must be the sum of it. */
export class Tallies {
  readonly #world: World
  readonly #adds = new Map<string, Deed>()
  readonly #removals = new Map<string, Deed[]>()
  readonly #counts: Deed[] = []
  readonly #byId = new Map<string, Deed>()

  constructor(world: World) {
    this.#world = world
  }

  /** A tab was loaded: it follows both. */
  open(client: Client): void {
    const { sets, counters } = client as unknown as Named
    sets.tags('s')
    counters.votes('v')
  }

  add(tab: Tab, options: WriteOptions): void {
    const value = this.#world.nextTag()
    this.#adds.set(value, this.#did(tab, `adds ${value}`, tagsOf(tab).add(value, options), options))
  }

  /** Removes one of the values that the tab sees, or the one that was added last. */
  remove(tab: Tab, n: number | undefined, options: WriteOptions): void {
    const tags = tagsOf(tab)
    const seen = [...tags.get()]
    const value = n === undefined ? seen.at(-1) : seen[n % seen.length]
    if (value === undefined) return
    const deed = this.#did(tab, `removes ${value}`, tags.delete(value, options), options)
    this.#removals.set(value, [...(this.#removals.get(value) ?? []), deed])
  }

  count(tab: Tab, options: WriteOptions): void {
    if (this.#counts.length >= MOST_COUNTS) return
    const bit = this.#counts.length
    this.#counts.push(this.#did(tab, `counts bit ${bit}`, votesOf(tab).add(2 ** bit, options), options))
  }

  /** A tab was told something: what it shows to be removed does not come back in it. */
  look(tab: Tab): void {
    const values = tagsOf(tab).get()
    for (const [value, add] of this.#adds) {
      const removals = this.#removals.get(value) ?? []
      // What its own machine removed may be back in sight as a refused addition.
      const isByOthers = removals.length > 0 && removals.every((removal) => removal.tab.machine !== tab.machine)
      if (add.process !== tab.process || !isByOthers) continue
      if (!values.has(value)) add.isSeenGone = true
      else if (add.isSeenGone)
        this.#world.oracle.fail('INV-12 set', `${tab.name} has ${value} again, which it showed to be removed`)
    }
  }

  /** A write was refused. Says whether it is one of these. */
  refused(id: string): boolean {
    const deed = this.#byId.get(id)
    if (deed !== undefined) deed.isRefused = true
    return deed !== undefined
  }

  /** Every count is in the sum once; what was added is there, unless somebody who saw it removed it. */
  check(tabs: readonly Tab[]): void {
    const { oracle } = this.#world
    for (const tab of tabs) {
      const values = tagsOf(tab).get()
      for (const value of values)
        if (!this.#adds.has(value)) oracle.fail('set', `${tab.name} has ${value}, which nobody added`)
      for (const [value, add] of this.#adds) {
        const removals = this.#removals.get(value) ?? []
        // A refused one stays in sight of its own machine until it is taken back.
        const isInSight = add.isRefused && add.tab.machine === tab.machine
        if (removals.some(this.#isCertain) && values.has(value) && !isInSight)
          oracle.fail('INV-12 set', `${tab.name} has ${value}, which was removed by who saw it`)
        if (removals.length === 0 && this.#isCertain(add) && !values.has(value))
          oracle.fail('INV-9 set', `${tab.name} lacks ${value}, which nobody removed`)
      }
      const sum = votesOf(tab).get()
      if (sum >= 2 ** this.#counts.length) oracle.fail('INV-7 counter', `${tab.name} counts ${sum}: something twice`)
      for (const [bit, deed] of this.#counts.entries())
        if (this.#isCertain(deed) && Math.floor(sum / 2 ** bit) % 2 === 0)
          oracle.fail('INV-7 counter', `${tab.name} counts ${sum}, without bit ${bit}, or that twice`)
      oracle.count('tallies compared')
    }
  }

  /**
   * It cannot have gone with its tab, nor been refused. Whoever has thrown its copy away for being away longer than
   * deletions are kept does not bring back what the server lost.
   */
  readonly #isCertain = ({ tab, process, isStored, isPersisted, isRefused }: Deed): boolean =>
    !isRefused &&
    (process.isAlive || isStored) &&
    (isPersisted || this.#world.host.ends === 0 || !this.#world.oracle.followers.wasReset(tab.machine.name, TAGS, 0))

  #did(tab: Tab, what: string, write: Write, { concern: level }: WriteOptions): Deed {
    const { process } = tab
    this.#world.scheduler.note(process.name, `${what}, ${write.id}`)
    const deed: Deed = {
      tab,
      process,
      isPersisted: level === 'persisted',
      isStored: false,
      isRefused: false,
      isSeenGone: false,
    }
    this.#byId.set(write.id, deed)
    write.wait('local').then(
      () => {
        if (process.isAlive) deed.isStored = true
      },
      () => {},
    )
    return deed
  }
}

type Named = Client<typeof TALLIES>

function tagsOf(tab: Tab): ReturnType<Named['sets']['tags']> {
  return (tab.client as unknown as Named).sets.tags('s')
}

function votesOf(tab: Tab): ReturnType<Named['counters']['votes']> {
  return (tab.client as unknown as Named).counters.votes('v')
}
