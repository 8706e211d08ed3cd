import type { Violation } from './oracle.ts'
import { Director } from './director.ts'
import { checkFinalState } from './final-check.ts'
import { Random } from './random.ts'
import { planScenario, type Scenario } from './scenario.ts'
import { BUSY_MS } from './steps.ts'
import { Trace } from './trace.ts'
import { Scheduler } from './virtual-env.ts'
import type { Wrappers } from './world-options.ts'
import { World } from './world.ts'

/** How long everything may take to come to rest once all faults have ended. */
const REST_MS = 480_000
/** How often it is looked whether everything is at rest. */
const LOOK_MS = 500

/** How a run ended. */
export interface Outcome {
  readonly seed: number
  /** Identifies the course of events. */
  readonly hash: string
  readonly violation: Violation | undefined
  readonly events: number
  readonly virtualMs: number
  readonly counts: ReadonlyMap<string, number>
  readonly latest: readonly string[]
}

/** What a run is told beside its scenario. */
export interface RunOptions {
  readonly wrappers?: Wrappers
  /** Gets every event as it happens. */
  readonly print?: (line: string) => void
}

/** Runs the scenario of a seed. */
export function runSeed(seed: number, options: RunOptions = {}): Promise<Outcome> {
  return runScenario(planScenario(seed), options)
}

/** Runs a scenario from its beginning until everything is at rest, or the first promise is broken. */
export async function runScenario(scenario: Scenario, { wrappers = {}, print }: RunOptions = {}): Promise<Outcome> {
  const { seed, steps } = scenario
  const trace = new Trace(print)
  const scheduler = new Scheduler(trace)
  const world = new World(scheduler, new Random(`world ${seed}`), scenario.world, wrappers)
  const { oracle } = world
  const isBroken = (): boolean => oracle.violation !== undefined
  const onRejection = (error: unknown): void => world.threw(error)
  process.on('unhandledRejection', onRejection)
  try {
    const director = new Director(world, seed)
    world.host.start()
    for (const step of steps) scheduler.after(step.atMs, () => director.take(step))
    await scheduler.runUntil(BUSY_MS, isBroken)
    if (!isBroken()) {
      director.heal()
      await rest(world, isBroken)
    }
    if (!isBroken()) await lastLook(world, isBroken)
  } finally {
    process.off('unhandledRejection', onRejection)
  }
  return {
    seed,
    hash: trace.hash,
    violation: oracle.violation,
    events: scheduler.eventCount,
    virtualMs: scheduler.nowMs,
    counts: oracle.counts,
    latest: trace.latest(60),
  }
}

/** Waits until nobody has anything left to do, twice in a row. */
async function rest(world: World, isBroken: () => boolean): Promise<void> {
  const { scheduler } = world
  const untilMs = scheduler.nowMs + REST_MS
  let restful = 0
  while (restful < 2 && !isBroken()) {
    if (scheduler.nowMs >= untilMs) {
      world.oracle.fail('rest', `Not at rest ${REST_MS / 1000} s after everything healed: ${unrest(world).join('; ')}`)
      return
    }
    await scheduler.runUntil(scheduler.nowMs + LOOK_MS, isBroken)
    bringUsersBack(world)
    restful = unrest(world).length === 0 ? restful + 1 : 0
  }
}

/** Whoever used the machine of another leaves it when all of their writes are with the server. */
function bringUsersBack(world: World): void {
  for (const machine of world.machines) {
    const { name, user, storage } = machine
    if (user === name || !storage.isIdle) continue
    const isDone = world.tabs.every((tab) => tab.machine !== machine || !tab.isAlive || tab.isQuiet)
    const isEmpty = storage.rows('queue').every(([, row]) => {
      const { refusal, user: writer } = row as { refusal?: unknown; user?: string }
      return refusal !== undefined || writer === name
    })
    if (isDone && isEmpty) world.changeUser(machine, name)
  }
}

/** Who is not at rest. */
function unrest(world: World): string[] {
  const { tabs, machines, disk, bareClients } = world
  return [
    ...(world.isServerUp ? [] : ['no server']),
    ...(disk.isIdle ? [] : ['the server writes']),
    ...(world.lockUsers.isBusy ? ['somebody waits for a lock, or has one'] : []),
    ...[...tabs, ...bareClients]
      .filter((peer) => peer.process.isAlive && !isJoined(world, peer.process.name))
      .map(({ process: { name } }) => `${name} has no connection at rest`),
    ...tabs
      .filter((tab) => tab.isAlive && !tab.isQuiet)
      .map(({ name, client }) => `${name}: ${JSON.stringify(client.status.get())}`),
    ...machines.filter(({ storage }) => !storage.isIdle).map(({ name }) => `${name} stores`),
    ...machines.filter(({ name, user }) => name !== user).map(({ name, user }) => `${user} is at ${name}`),
    ...machines
      .filter(({ storage }) =>
        storage.rows('queue').some(([, row]) => (row as { refusal?: unknown }).refusal === undefined),
      )
      .map(({ name }) => `${name} has writes in its queue`),
    ...bareClients.filter(({ isSettled }) => !isSettled).map(({ process }) => `${process.name} waits`),
  ]
}

/** Its connection lives at both ends, and nothing is on its way. */
function isJoined(world: World, name: string): boolean {
  return [...world.network.connections].some((connection) => connection.clientName === name && connection.isAtRest)
}

/** A client that has nothing comes and gets everything; then all copies are compared. */
async function lastLook(world: World, isBroken: () => boolean): Promise<void> {
  const { scheduler } = world
  const observer = world.bareClient('observer', 'msgpack', 'writer')
  const untilMs = scheduler.nowMs + 20_000
  while (!observer.isComplete && scheduler.nowMs < untilMs && !isBroken()) {
    await scheduler.runUntil(scheduler.nowMs + LOOK_MS, isBroken)
  }
  // Records whose time passes just now come to rest as well.
  if (!isBroken()) await rest(world, isBroken)
  if (isBroken()) return
  if (!observer.isComplete) world.oracle.fail('rest', 'A new client got no answer')
  else checkFinalState(world, observer)
}
