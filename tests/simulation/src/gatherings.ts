import { defineContract, room, topic, type Client, type StandardSchema } from '@syncline/client'
import type { Tab } from './tab.ts'
import type { Process } from './virtual-env.ts'
import type { World } from './world.ts'

/** What a publication says: who published it, as its how-manieth. */
interface News {
  readonly by: string
  readonly number: number
  readonly padding: string
}

/** What a tab shows of itself. */
interface Shown {
  readonly tab: string
  readonly mood: number
}

const NEWS: StandardSchema<News, News> = {
  '~standard': { version: 1, vendor: 'simulation', validate: (value) => ({ value: value as News }) },
}
const SHOWN: StandardSchema<Shown, Shown> = {
  '~standard': { version: 1, vendor: 'simulation', validate: (value) => ({ value: value as Shown }) },
}

/** What the tabs of a run have beside maps, where they gather. */
export const GATHERINGS = defineContract({ topics: { news: topic(NEWS) }, rooms: { lobby: room({ presence: SHOWN }) } })

/** How long after the end of a connection its member may still be shown: the server waits a second for it to come back. */
const GONE_MS = 1_600

interface Guest {
  readonly lobby: ReturnType<Named['rooms']['lobby']['join']>
  mood: number
}

/** Tabs that publish, listen and see each other: what each is told of the others is looked at here. */
export class Gatherings {
  readonly #world: World
  readonly #guests = new Map<Process, Guest>()
  readonly #published = new Map<Process, number>()

  constructor(world: World) {
    this.#world = world
  }

  /** A tab was loaded: it listens, and is in the lobby. */
  enter(process: Process, client: Client): void {
    const { oracle } = this.#world
    const { topics, rooms } = client as unknown as Named
    const latest = new Map<string, number>()
    topics.news.subscribe(({ data: { by, number }, missed }) => {
      oracle.count('news heard')
      if (missed > 0) oracle.count('news missed')
      // INV-16: at most once, and in the order in which it was published.
      const before = latest.get(by) ?? 0
      if (number <= before) oracle.fail('INV-16', `${process.name} heard ${number} of ${by} after ${before}`)
      latest.set(by, number)
    })
    const lobby = rooms.lobby.join('main', { presence: { tab: process.name, mood: 0 } })
    this.#guests.set(process, { lobby, mood: 0 })
  }

  publish({ process, client }: Tab, times: number, bytes: number): void {
    this.#world.scheduler.note(process.name, `publishes ${times} times`)
    for (let i = 0; i < times; i++) {
      const number = (this.#published.get(process) ?? 0) + 1
      this.#published.set(process, number)
      ;(client as unknown as Named).topics.news.publish({ by: process.name, number, padding: '-'.repeat(bytes) })
    }
  }

  show({ process }: Tab, mood: number): void {
    const guest = this.#guests.get(process)
    if (guest === undefined) return
    guest.mood = mood
    guest.lobby.self.update({ mood })
  }

  /** A tab is gone, and the server was told: soon nobody who is connected sees it any more. */
  died(process: Process): void {
    const { scheduler, network, oracle } = this.#world
    const connections = [...network.connections].filter(({ clientName }) => clientName === process.name)
    const look = (untilMs: number): void => {
      if (connections.some(({ isServed }) => isServed)) {
        // The server is told when its system's word arrives; where it is not told it finds out by silence.
        if (scheduler.nowMs < untilMs) scheduler.after(100, () => look(untilMs))
        return
      }
      const endedAtMs = Math.max(scheduler.nowMs - 100, ...connections.map((connection) => connection.endedAtMs))
      scheduler.after(endedAtMs + GONE_MS - scheduler.nowMs, () => {
        for (const [other, { lobby }] of this.#guests) {
          if (!other.isAlive || !this.#isInTouch(other, GONE_MS)) continue
          if (lobby.others.get().some(({ presence }) => presence.tab === process.name))
            oracle.fail('room', `${other.name} still sees ${process.name}, which is gone`)
          else oracle.count('members gone in time')
        }
      })
    }
    look(scheduler.nowMs + 5_000)
  }

  /** Everybody who lives sees everybody else who lives, as they show themselves. */
  check(): void {
    const { oracle, network } = this.#world
    const lives = [...this.#guests].filter(([process]) => process.isAlive)
    for (const [process, { lobby }] of lives) {
      const seen = new Map(lobby.others.get().map(({ presence }) => [presence.tab, presence.mood]))
      for (const [other, { mood }] of lives) {
        if (other === process) continue
        if (seen.get(other.name) !== mood)
          oracle.fail('room', `${process.name} sees ${other.name} with ${seen.get(other.name)} instead of ${mood}`)
        seen.delete(other.name)
      }
      // What lost its power without a word is there until the server finds out.
      for (const name of seen.keys())
        if (![...network.connections].some(({ clientName, isServed }) => clientName === name && isServed))
          oracle.fail('room', `${process.name} sees ${name}, which is not there`)
      oracle.count('lobbies compared')
    }
  }

  /** Its connection has been there and fast for a while. */
  #isInTouch(process: Process, sinceMs: number): boolean {
    return [...this.#world.network.connections].some(
      (connection) =>
        connection.clientName === process.name &&
        connection.isAtRest &&
        connection.silentMs > 400 &&
        this.#world.scheduler.nowMs - connection.openedAtMs > sinceMs,
    )
  }
}

type Named = Client<typeof GATHERINGS>
