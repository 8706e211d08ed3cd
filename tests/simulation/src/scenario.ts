import type { WriteOptions } from '@syncline/client'
import type { ClientOp } from '@syncline/protocol'
import { Random } from './random.ts'
import { MAPS, type Machine, type ServerEnd, type Tab, type World, type WorldOptions } from './world.ts'

/** How long faults and writes go on. After that everything heals. */
export const BUSY_MS = 40_000

/** What an application does to a key. */
export type Act = 'put' | 'patch' | 'unset' | 'remove'

type Level = NonNullable<WriteOptions['concern']>

/** One thing that happens at a moment. `n` chooses among what is there then. */
export type Step = { readonly atMs: number; readonly n: number } & (
  | {
      readonly kind: 'write'
      readonly mapName: string
      readonly key: string
      readonly act: Act
      readonly fields: readonly string[]
      readonly level: Level
      readonly waitFor: 'applied' | 'persisted' | undefined
      readonly times: number
    }
  | {
      readonly kind: 'bare write'
      readonly mapName: string
      readonly key: string
      readonly act: Act
      readonly twin: boolean
      readonly field: string
    }
  | { readonly kind: 'replay' }
  | { readonly kind: 'crash tab'; readonly backAfterMs: number; readonly isMachineOff: boolean }
  | { readonly kind: 'close tab'; readonly isPolite: boolean }
  | { readonly kind: 'open tab' }
  | { readonly kind: 'duplicate tab' }
  | { readonly kind: 'go offline'; readonly forMs: number }
  | { readonly kind: 'wake' }
  | { readonly kind: 'partition'; readonly direction: 'up' | 'down' | 'both'; readonly forMs: number }
  | { readonly kind: 'reset'; readonly isServerTold: boolean }
  | { readonly kind: 'slow network'; readonly bytesPerMs: number; readonly forMs: number }
  | { readonly kind: 'end server'; readonly how: ServerEnd; readonly backAfterMs: number }
  | { readonly kind: 'stop server'; readonly backAfterMs: number }
  | { readonly kind: 'server disk fails'; readonly fault: 'full' | 'unavailable' | 'io'; readonly forMs: number }
  | { readonly kind: 'server disk slow'; readonly maxMs: number; readonly forMs: number }
  | { readonly kind: 'storage fails'; readonly fault: 'full' | 'broken'; readonly forMs: number }
  | { readonly kind: 'storage slow'; readonly maxMs: number; readonly forMs: number }
  | { readonly kind: 'clock jumps'; readonly byMs: number; readonly isServer: boolean }
)

/** Everything that a run does, worked out before it begins. */
export interface Scenario {
  readonly seed: number
  readonly world: WorldOptions
  readonly steps: readonly Step[]
}

const HOUR_MS = 3_600_000
const FIELDS: readonly string[] = ['a', 'b', 'c']

/** Plans the run of a seed. Each seed has a taste of its own: some faults it has often, others never. */
export function planScenario(seed: number): Scenario {
  const random = new Random(`plan ${seed}`)
  const taste = random.fork('taste')
  const machineCount = 1 + taste.int(3)
  const machines = Array.from({ length: machineCount }, () => ({
    clockOffsetMs: taste.chance(0.4)
      ? Math.round(taste.between(-8, 8) * HOUR_MS)
      : Math.round(taste.between(-400, 400)),
    driftPpm: taste.between(-300, 300),
    tabs: taste.chance(0.3) ? 2 : 1,
  }))
  if (machineCount === 1 && machines[0] !== undefined) machines[0].tabs = 2
  const world: WorldOptions = {
    machines,
    pageRecords: taste.pick([1, 2, 4, 500]),
    diskSlownessMs: taste.pick([5, 12, 80, 600]),
    storageSlownessMs: taste.pick([4, 8, 60]),
    bareEncodings:
      taste.weighted({ none: 2, msgpack: 3, both: 1 }) === 'none'
        ? []
        : taste.chance(0.7)
          ? ['msgpack']
          : ['msgpack', 'json'],
  }
  const keys = Array.from({ length: taste.pick([2, 3, 6]) }, (_, i) => `k${i + 1}`)
  const patience = taste.pick([1, 2, 4])
  const weights = {
    'crash tab': taste.pick([0, 1, 3]),
    'close tab': taste.pick([0, 0, 1]),
    'open tab': taste.pick([0, 0, 1]),
    'duplicate tab': taste.pick([0, 0, 1]),
    'go offline': taste.pick([0, 1, 2]),
    wake: taste.pick([0, 1]),
    partition: taste.pick([0, 1, 3]),
    reset: taste.pick([0, 2, 4]),
    'slow network': taste.pick([0, 1, 2]),
    'end server': taste.pick([0, 1, 3]),
    'stop server': taste.pick([0, 0, 1]),
    'server disk fails': taste.pick([0, 0, 1]),
    'server disk slow': taste.pick([0, 1, 2]),
    'storage fails': taste.pick([0, 0, 1]),
    'storage slow': taste.pick([0, 1]),
    'clock jumps': taste.pick([0, 0, 2]),
    replay: taste.pick([0, 1]),
  } satisfies Partial<Record<Step['kind'], number>>
  const steps: Step[] = []
  const writeCount = 15 + taste.int(45)
  const bareWriteCount = world.bareEncodings.length === 0 ? 0 : taste.pick([0, 4, 12])
  const faultCount = Object.values(weights).some((weight) => weight > 0)
    ? 3 + taste.int(taste.chance(0.2) ? 40 : 16)
    : 0
  const moment = (): number => Math.round(random.between(0, BUSY_MS))
  // Writes come in flocks, so that they meet in one batch, one flush, one crash.
  let flockMs = moment()
  for (let i = 0; i < writeCount; i++) {
    if (random.chance(1 / 4)) flockMs = moment()
    steps.push(planWrite(random, keys, Math.min(BUSY_MS, flockMs + Math.round(random.skewed(0, 400))), patience))
  }
  for (let i = 0; i < bareWriteCount; i++) {
    steps.push({
      kind: 'bare write',
      atMs: moment(),
      n: random.int(1 << 20),
      mapName: random.pick(MAPS),
      key: random.pick(keys),
      act: random.weighted({ put: 4, patch: 2, unset: 0, remove: 1 }),
      twin: random.chance(0.4),
      field: random.pick(FIELDS),
    })
  }
  for (let i = 0; i < faultCount; i++) {
    // Faults like to come while something is going on.
    const near = steps[random.int(steps.length)]
    const atMs = random.chance(0.8) && near !== undefined ? near.atMs + Math.round(random.skewed(0, 300)) : moment()
    steps.push(planFault(random, random.weighted(weights), Math.min(BUSY_MS, atMs)))
  }
  return { seed, world, steps: steps.sort((a, b) => a.atMs - b.atMs) }
}

function planWrite(random: Random, keys: readonly string[], atMs: number, patience: number): Step {
  return {
    kind: 'write',
    atMs,
    n: random.int(1 << 20),
    mapName: random.pick(MAPS),
    key: random.chance(0.05) ? 'ttl' : random.pick(keys),
    act: random.weighted({ put: 4, patch: 5, unset: 1, remove: 2 }),
    fields: [...new Set([random.pick(FIELDS), ...FIELDS.filter(() => random.chance(0.5))])],
    level: random.weighted({ memory: 6, applied: 2, persisted: 3, replicated: 0.5, none: 0.5 }),
    waitFor: random.chance(patience / 20) ? random.pick(['applied', 'persisted'] as const) : undefined,
    times: random.chance(0.1) ? 2 + random.int(12) : 1,
  }
}

function planFault(random: Random, kind: Step['kind'], atMs: number): Step {
  const at = { atMs, n: random.int(1 << 20) }
  const briefMs = Math.round(random.skewed(50, 20_000))
  switch (kind) {
    case 'crash tab':
      return { ...at, kind, backAfterMs: Math.round(random.skewed(5, 12_000)), isMachineOff: random.chance(0.2) }
    case 'close tab':
      return { ...at, kind, isPolite: random.chance(0.6) }
    case 'go offline':
      return { ...at, kind, forMs: briefMs }
    case 'partition':
      return { ...at, kind, direction: random.pick(['up', 'down', 'both', 'both'] as const), forMs: briefMs }
    case 'reset':
      return { ...at, kind, isServerTold: random.chance(0.7) }
    case 'slow network':
      return { ...at, kind, bytesPerMs: random.pick([0.2, 1, 5]), forMs: briefMs }
    case 'end server': {
      const how = random.pick(['killed', 'killed, sent data lost', 'power off'] as const)
      return { ...at, kind, how, backAfterMs: Math.round(random.skewed(20, 6_000)) }
    }
    case 'stop server':
      return { ...at, kind, backAfterMs: Math.round(random.skewed(20, 6_000)) }
    case 'server disk fails':
      return { ...at, kind, fault: random.pick(['full', 'unavailable', 'unavailable', 'io'] as const), forMs: briefMs }
    case 'server disk slow':
      return { ...at, kind, maxMs: random.pick([200, 2_000, 9_000]), forMs: briefMs }
    case 'storage fails':
      return { ...at, kind, fault: random.pick(['full', 'broken'] as const), forMs: briefMs }
    case 'storage slow':
      return { ...at, kind, maxMs: random.pick([200, 2_000]), forMs: briefMs }
    case 'clock jumps': {
      // A server whose clock goes back further than clients may be ahead refuses everyone until it has caught up.
      const isServer = random.chance(0.3)
      const byMs = isServer
        ? random.between(-10_000, 20_000)
        : random.pick([-HOUR_MS, -30_000, 30_000, 90_000, HOUR_MS])
      return { ...at, kind, byMs: Math.round(byMs), isServer }
    }
    case 'open tab':
    case 'duplicate tab':
    case 'wake':
    case 'replay':
      return { ...at, kind }
    case 'write':
    case 'bare write':
  }
  throw new Error(`'${kind}' is no fault`)
}

/** Carries out the steps of a scenario, and ends its faults. */
export class Director {
  readonly #world: World
  readonly #seed: number
  #serverClockMs = 0
  #twinStamps = 0

  constructor(world: World, seed: number) {
    this.#world = world
    this.#seed = seed
  }

  take(step: Step): void {
    const { scheduler } = this.#world
    scheduler.note('step', JSON.stringify(step))
    this.#world.oracle.count(`step: ${step.kind}`)
    this.#take(step)
  }

  /** Ends every fault and brings everyone back. */
  heal(): void {
    const { network, machines, disk, scheduler, tabs } = this.#world
    scheduler.note('step', 'everything heals')
    disk.fault = undefined
    disk.slownessMs = this.#world.options.diskSlownessMs
    for (const { name, storage } of machines) {
      network.heal(name)
      network.setSpeed(name, undefined)
      storage.fault = undefined
      storage.slownessMs = this.#world.options.storageSlownessMs
    }
    for (const { machine } of this.#world.bareClients) {
      network.heal(machine)
      network.setSpeed(machine, undefined)
    }
    this.#world.startServer()
    for (const tab of tabs) {
      tab.reload()
      if (tab.isAlive) tab.client.connect()
    }
    for (const machine of machines) {
      if (!tabs.some((tab) => tab.machine === machine && tab.isAlive && !tab.isClosed)) this.#world.openTab(machine)
    }
  }

  #take(step: Step): void {
    const world = this.#world
    const { network, disk, scheduler, machines } = world
    const later = (ms: number, run: () => void): void => void scheduler.after(ms, run)
    const machine = machines[step.n % machines.length] as Machine
    switch (step.kind) {
      case 'write':
        return this.#write(step)
      case 'bare write':
        return this.#bareWrite(step)
      case 'replay': {
        const client = world.bareClients[0]
        if (client !== undefined) world.replay(client, step.n)
        return
      }
      case 'crash tab': {
        const tab = this.#tab(step.n)
        if (tab === undefined) return
        const victims = step.isMachineOff
          ? world.tabs.filter((other) => other.machine === tab.machine && other.isAlive)
          : [tab]
        for (const victim of victims) {
          victim.crash(step.isMachineOff)
          later(step.backAfterMs, () => victim.reload())
        }
        return
      }
      case 'close tab': {
        const tab = this.#tab(step.n)
        if (tab === undefined) return
        tab.isClosed = true
        if (step.isPolite) tab.close(() => {})
        else tab.crash(false)
        return
      }
      case 'open tab':
        if (world.tabs.length < 7) world.openTab(machine)
        return
      case 'duplicate tab': {
        const tab = this.#tab(step.n)
        if (tab !== undefined && world.tabs.length < 7) world.openTab(tab.machine, new Map(tab.memory))
        return
      }
      case 'go offline': {
        const client = this.#tab(step.n)?.client
        client?.disconnect()
        later(step.forMs, () => client?.connect())
        return
      }
      case 'wake':
        this.#tab(step.n)?.wake()
        return
      case 'partition': {
        const name = this.#machineName(step.n)
        network.partition(name, step.direction)
        later(step.forMs, () => network.heal(name))
        return
      }
      case 'reset': {
        const open = [...network.connections].filter(({ isOpen }) => isOpen)
        open[step.n % open.length]?.reset(step.isServerTold)
        return
      }
      case 'slow network': {
        const name = this.#machineName(step.n)
        network.setSpeed(name, step.bytesPerMs)
        later(step.forMs, () => network.setSpeed(name, undefined))
        return
      }
      case 'end server':
        world.endServer(step.how)
        return later(step.backAfterMs, () => world.startServer())
      case 'stop server':
        return world.stopServer(() => later(step.backAfterMs, () => world.startServer()))
      case 'server disk fails':
        disk.fault = step.fault
        return later(step.fault === 'io' ? Math.min(step.forMs, 500) : step.forMs, () => {
          disk.fault = undefined
          // After an io fault the server has ended itself, and its supervisor starts it again.
          later(1_000, () => world.startServer())
        })
      case 'server disk slow':
        disk.slownessMs = step.maxMs
        return later(step.forMs, () => (disk.slownessMs = world.options.diskSlownessMs))
      case 'storage fails':
        machine.storage.fault = step.fault
        return later(step.forMs, () => (machine.storage.fault = undefined))
      case 'storage slow':
        machine.storage.slownessMs = step.maxMs
        return later(step.forMs, () => (machine.storage.slownessMs = world.options.storageSlownessMs))
      case 'clock jumps':
        return this.#jump(step.isServer, step.byMs, machine)
    }
  }

  #jump(isServer: boolean, byMs: number, machine: Machine): void {
    if (!isServer) return machine.clock.jump(byMs)
    const to = Math.max(-20_000, Math.min(40_000, this.#serverClockMs + byMs))
    this.#world.serverClock.jump(to - this.#serverClockMs)
    this.#serverClockMs = to
  }

  #tab(n: number): Tab | undefined {
    const alive = this.#world.tabs.filter((tab) => tab.isAlive && !tab.isClosed)
    return alive[n % alive.length]
  }

  #machineName(n: number): string {
    const names = [
      ...this.#world.machines.map(({ name }) => name),
      ...this.#world.bareClients.map(({ machine }) => machine),
    ]
    return names[n % names.length] as string
  }

  #write({ n, mapName, key, act, fields, level, waitFor, times }: Extract<Step, { kind: 'write' }>): void {
    const tab = this.#tab(n)
    if (tab === undefined) return
    for (let i = 0; i < times; i++) {
      const at = i === 0 || act !== 'put' ? key : `${key}${i % 5}`
      this.#writeOnce(tab, { mapName, key: at, act, fields, level, waitFor })
    }
  }

  #writeOnce(
    tab: Tab,
    {
      mapName,
      key,
      act,
      fields,
      level,
      waitFor,
    }: Pick<Extract<Step, { kind: 'write' }>, 'mapName' | 'key' | 'act' | 'fields' | 'level' | 'waitFor'>,
  ): void {
    const [first, ...others] = fields as [string, ...string[]]
    const isThere = tab.value(mapName, key) !== undefined
    const options: WriteOptions = {
      concern: level,
      ...(key.startsWith('ttl') && act === 'put' ? { ttlMs: 5_000 } : {}),
    }
    tab.write(mapName, key, options, (map, tag) => {
      const values = Object.fromEntries(fields.map((name) => [name, tag]))
      const write =
        act === 'remove'
          ? map.delete(key, { concern: level })
          : act === 'put' || !isThere
            ? map.set(key, values, options)
            : map.update(
                key,
                (given) => {
                  const draft = given as Record<string, string>
                  draft[first] = tag
                  for (const name of others) {
                    if (act === 'unset') delete draft[name]
                    else draft[name] = tag
                  }
                },
                { concern: level },
              )
      if (waitFor !== undefined) write.wait(waitFor, { timeoutMs: 8_000 }).catch(() => {})
      return write
    })
  }

  #bareWrite({ n, mapName, key, act, twin, field }: Extract<Step, { kind: 'bare write' }>): void {
    const world = this.#world
    const client = world.bareClients[n % world.bareClients.length]
    if (client === undefined) return
    const stamp = client.stamp()
    const write = (timestamp: typeof stamp, name: string): void => {
      const tag = world.nextTag()
      const value = act === 'remove' ? null : { [name]: tag }
      const op: Omit<ClientOp, 'id'> = {
        mapName,
        key,
        opType: act === 'remove' ? 'REMOVE' : act === 'put' ? 'PUT' : 'PATCH',
        record: { value, timestamp },
      }
      world.bareWrite(client, op, tag, n % 3 === 0 ? 'PERSISTED' : 'APPLIED')
    }
    if (!twin) return write(stamp, field)
    // Two writers that took the same name: what they write under one stamp is joined the same way everywhere.
    const shared = { ...stamp, nodeId: `twin${this.#seed % 2}`, counter: this.#twinStamps++ }
    write(shared, field)
    write(shared, FIELDS[n % FIELDS.length] as string)
  }
}
