import type { WriteOptions } from '@syncline/client'
import type { Encoding } from '@syncline/protocol'
import { planQuery, type PlainQuery } from './live-queries.ts'
import { Random } from './random.ts'
import { SHARED_MAPS, VAULT, type Role } from './users.ts'
import type { ServerEnd } from './server-host.ts'
import type { WorldOptions } from './world-options.ts'

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
      /** How long a record under a key for such lives. */
      readonly ttlMs: number
    }
  | {
      readonly kind: 'bare write'
      readonly mapName: string
      readonly key: string
      readonly act: Act
      readonly twin: boolean
      readonly field: string
      /** How long after it was stamped it is sent: what is written meanwhile overtakes it. */
      readonly lateMs: number
      readonly isTwice: boolean
    }
  | { readonly kind: 'tally'; readonly act: 'add' | 'remove' | 'count'; readonly level: Level }
  | { readonly kind: 'replay' }
  | {
      readonly kind: 'crash tab'
      readonly backAfterMs: number
      readonly isMachineOff: boolean
      readonly isReload: boolean
    }
  | { readonly kind: 'close tab'; readonly isPolite: boolean }
  | { readonly kind: 'open tab' }
  | { readonly kind: 'duplicate tab' }
  | { readonly kind: 'go offline'; readonly forMs: number }
  | { readonly kind: 'wake' }
  | { readonly kind: 'partition'; readonly direction: 'up' | 'down' | 'both'; readonly forMs: number }
  | { readonly kind: 'reset'; readonly isServerTold: boolean }
  | { readonly kind: 'slow network'; readonly bytesPerMs: number; readonly forMs: number }
  | {
      readonly kind: 'end server'
      readonly how: ServerEnd
      readonly backAfterMs: number
      /** It ends as soon as it has sent a page that is not the last one. */
      readonly isAtPage: boolean
    }
  | { readonly kind: 'stop server'; readonly backAfterMs: number }
  | { readonly kind: 'server disk fails'; readonly fault: 'full' | 'unavailable' | 'io'; readonly forMs: number }
  | { readonly kind: 'server disk slow'; readonly maxMs: number; readonly forMs: number }
  | { readonly kind: 'storage fails'; readonly fault: 'full' | 'broken'; readonly forMs: number }
  | { readonly kind: 'storage slow'; readonly maxMs: number; readonly forMs: number }
  | { readonly kind: 'sign-in fails'; readonly fault: 'down' | 'gives old tokens'; readonly forMs: number }
  | { readonly kind: 'sign out'; readonly forMs: number }
  | { readonly kind: 'change user'; readonly isAnother: boolean }
  | { readonly kind: 'pry' }
  /** All clocks go on: nothing happens in the world for so long. */
  | { readonly kind: 'days pass'; readonly days: number }
  | { readonly kind: 'clock jumps'; readonly byMs: number; readonly isServer: boolean }
)

/** Everything that a run does, worked out before it begins. */
export interface Scenario {
  readonly seed: number
  readonly world: WorldOptions
  readonly steps: readonly Step[]
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
export const FIELDS: readonly string[] = ['a', 'b', 'c']

/** Plans the run of a seed. Each seed has a taste of its own: some faults it has often, others never. */
export function planScenario(seed: number): Scenario {
  const random = new Random(`plan ${seed}`)
  const taste = random.fork('taste')
  // A server that dies again and again while it answers slowly, page by page: what a crash takes is what followers were shown.
  const isStormy = taste.chance(0.12)
  const planned = planWorld(taste, isStormy)
  const world = { ...planned, hasTallies: planned.signIn === undefined && new Random(`tallies? ${seed}`).chance(0.3) }
  const maps = world.signIn === undefined ? SHARED_MAPS : [...SHARED_MAPS, ...SHARED_MAPS, VAULT]
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
    reset: isStormy ? 4 : taste.pick([0, 2, 4]),
    'slow network': isStormy ? 6 : taste.pick([0, 1, 2]),
    'end server': isStormy ? 6 : taste.pick([0, 1, 3, 6]),
    'stop server': taste.pick([0, 0, 1]),
    'server disk fails': taste.pick([0, 0, 1]),
    'server disk slow': taste.pick([0, 1, 2]),
    'storage fails': taste.pick([0, 0, 1]),
    'storage slow': taste.pick([0, 1]),
    'clock jumps': taste.pick([0, 1, 3]),
    replay: taste.pick([0, 1]),
    'sign-in fails': world.signIn === undefined ? 0 : taste.pick([0, 1]),
    'sign out': world.signIn === undefined ? 0 : taste.pick([0, 0, 1]),
    'change user': world.signIn === undefined ? 0 : taste.pick([0, 0, 1, 2]),
    pry: world.bareClients.some(({ role }) => role === 'guest') ? 1 : 0,
  } satisfies Partial<Record<Step['kind'], number>>
  const steps: Step[] = []
  const writeCount = 15 + taste.int(45)
  const bareWriteCount = world.bareClients.length === 0 ? 0 : taste.pick([0, 4, 12])
  const faultCount = Object.values(weights).some((weight) => weight > 0)
    ? 3 + taste.int(isStormy || taste.chance(0.2) ? 40 : 16)
    : 0
  const moment = (): number => Math.round(random.between(0, BUSY_MS))
  // Writes come in flocks, so that they meet in one batch, one flush, one crash.
  let flockMs = moment()
  for (let i = 0; i < writeCount; i++) {
    if (random.chance(1 / 4)) flockMs = moment()
    steps.push(planWrite(random, maps, keys, Math.min(BUSY_MS, flockMs + Math.round(random.skewed(0, 400))), patience))
  }
  for (let i = 0; i < bareWriteCount; i++) {
    const atMs = moment()
    const lateMs = random.chance(0.3) ? Math.round(random.skewed(0, 8_000)) : 0
    steps.push({
      kind: 'bare write',
      atMs,
      n: random.int(1 << 20),
      mapName: random.pick(maps),
      key: random.pick(keys),
      act: random.weighted({ put: 4, patch: 2, unset: 0, remove: 1 }),
      twin: random.chance(0.4),
      field: random.pick(FIELDS),
      lateMs: Math.min(lateMs, BUSY_MS - atMs),
      isTwice: random.chance(0.2),
    })
  }
  steps.push(...planAges(seed, maps, keys))
  if (world.hasTallies) steps.push(...planTallies(seed))
  for (let i = 0; i < faultCount; i++) {
    // Faults like to come while something is going on.
    const near = steps[random.int(steps.length)]
    const atMs = random.chance(0.8) && near !== undefined ? near.atMs + Math.round(random.skewed(0, 300)) : moment()
    steps.push(planFault(random, random.weighted(weights), Math.min(BUSY_MS, atMs)))
  }
  return { seed, world, steps: steps.sort((a, b) => a.atMs - b.atMs) }
}

/**
 * Machines that are away while weeks go by, and what the others remove and write meanwhile. In most of these seeds that is
 * longer than deletions are kept.
 */
function planAges(seed: number, maps: readonly string[], keys: readonly string[]): Step[] {
  const random = new Random(`ages ${seed}`)
  const steps: Step[] = []
  if (random.chance(0.5)) return steps
  for (let count = 1 + random.int(3); count > 0; count--) {
    const atMs = Math.round(random.between(0, BUSY_MS * 0.6))
    const forMs = Math.round(random.between(5_000, 16_000))
    const at = { atMs, n: random.int(1 << 20) }
    const away: Step = random.pick([
      { ...at, kind: 'partition', direction: 'both', forMs },
      { ...at, kind: 'crash tab', backAfterMs: forMs, isMachineOff: true, isReload: false },
      { ...at, kind: 'go offline', forMs },
    ] as const)
    steps.push(away)
    const days = random.pick([0.5, 12, 31, 45, 90])
    const parts = 1 + random.int(3)
    for (let part = 1; part <= parts; part++) {
      const within = Math.round((part / (parts + 1)) * forMs)
      steps.push({ kind: 'days pass', atMs: atMs + within, n: 0, days: days / parts })
      // What is forgotten then is being stored.
      if (random.chance(0.25)) steps.push(planFault(random, 'end server', atMs + within + 350 + random.int(200)))
    }
    for (let i = random.int(8); i > 0; i--) {
      const mapName = random.pick(maps)
      const lateMs = Math.round(random.between(0, forMs + 3_000))
      const write = planWrite(random, [mapName], keys, Math.min(BUSY_MS, atMs + lateMs), 1)
      steps.push(write.kind === 'write' && random.chance(0.4) ? { ...write, act: 'remove', times: 1 } : write)
    }
  }
  return steps
}

/** What goes into a set and out of it, and what is counted. */
function planTallies(seed: number): Step[] {
  const random = new Random(`tallies ${seed}`)
  return Array.from({ length: 6 + random.int(30) }, () => ({
    kind: 'tally' as const,
    atMs: Math.round(random.between(0, BUSY_MS)),
    n: random.int(1 << 20),
    act: random.weighted({ add: 4, remove: 2, count: 4 }),
    level: random.weighted({ memory: 6, applied: 2, persisted: 3, replicated: 0, none: 0 }),
  }))
}

function planWorld(taste: Random, isStormy: boolean): Omit<WorldOptions, 'hasTallies'> {
  const signIn = taste.chance(0.35) ? { tokenMs: taste.pick([undefined, 20_000, 40_000, 70_000]) } : undefined
  const machineCount = 1 + taste.int(3)
  const machines = Array.from({ length: machineCount }, (_, i) => ({
    clockOffsetMs: taste.chance(0.4)
      ? Math.round(taste.between(-8, 8) * HOUR_MS)
      : Math.round(taste.between(-400, 400)),
    driftPpm: taste.between(-300, 300),
    tabs: taste.chance(0.3) || machineCount === 1 ? 2 : 1,
    hasLocks: !taste.chance(0.1),
    role: signIn !== undefined && i > 0 && taste.chance(0.5) ? ('guest' as const) : ('writer' as const),
  }))
  const queries = (role: Role, chance: number): PlainQuery[] => {
    const readable = role === 'guest' || signIn === undefined ? SHARED_MAPS : [...SHARED_MAPS, VAULT]
    return taste.chance(chance)
      ? Array.from({ length: 1 + taste.int(2) }, () => planQuery(taste, readable, FIELDS))
      : []
  }
  const bareClient = (encoding: Encoding, role: Role): WorldOptions['bareClients'][number] => ({
    encoding,
    role,
    queries: queries(role, 0.5),
  })
  const bareClients =
    taste.weighted({ none: 2, msgpack: 3, both: 1 }) === 'none'
      ? []
      : taste.chance(0.7)
        ? [bareClient('msgpack', 'writer')]
        : [bareClient('msgpack', 'writer'), bareClient('json', 'writer')]
  if (signIn !== undefined && taste.chance(0.6))
    bareClients.push(bareClient(taste.pick(['msgpack', 'json'] as const), 'guest'))
  return {
    machines,
    gcIntervalMs: isStormy ? 1_500 : 400,
    pageRecords: taste.pick(isStormy ? [1, 2] : [1, 2, 4, 500]),
    diskSlownessMs: taste.pick(isStormy ? [600, 4_000] : [5, 12, 80, 600]),
    storageSlownessMs: taste.pick([4, 8, 60]),
    bareClients,
    tabQueries: queries('guest', 0.3),
    signIn,
    isBulky: taste.chance(0.015),
  }
}

function planWrite(
  random: Random,
  maps: readonly string[],
  keys: readonly string[],
  atMs: number,
  patience: number,
): Step {
  return {
    kind: 'write',
    atMs,
    n: random.int(1 << 20),
    mapName: random.pick(maps),
    key: random.chance(0.08) ? 'ttl' : random.pick(keys),
    act: random.weighted({ put: 4, patch: 5, unset: 1, remove: 2 }),
    fields: [...new Set([random.pick(FIELDS), ...FIELDS.filter(() => random.chance(0.5))])],
    level: random.weighted({ memory: 6, applied: 2, persisted: 3, replicated: 0.5, none: 0.5 }),
    waitFor: random.chance(patience / 20) ? random.pick(['applied', 'persisted'] as const) : undefined,
    times: random.chance(0.1) ? 2 + random.int(12) : 1,
    ttlMs: random.pick([1_000, 5_000, 5_000, 2 * DAY_MS, 40 * DAY_MS]),
  }
}

function planFault(random: Random, kind: Step['kind'], atMs: number): Step {
  const at = { atMs, n: random.int(1 << 20) }
  const briefMs = Math.round(random.skewed(50, 20_000))
  switch (kind) {
    case 'crash tab':
      return {
        ...at,
        kind,
        backAfterMs: Math.round(random.skewed(5, 12_000)),
        ...random.pick([
          { isMachineOff: true, isReload: false },
          { isMachineOff: false, isReload: false },
          { isMachineOff: false, isReload: true },
        ]),
      }
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
      const isAtPage = random.chance(0.4)
      return { ...at, kind, how, backAfterMs: Math.round(random.skewed(20, 6_000)), isAtPage }
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
    case 'sign-in fails':
      return { ...at, kind, fault: random.pick(['down', 'gives old tokens'] as const), forMs: briefMs }
    case 'sign out':
      return { ...at, kind, forMs: briefMs }
    case 'change user':
      return { ...at, kind, isAnother: random.chance(0.6) }
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
    case 'pry':
      return { ...at, kind }
    case 'write':
    case 'bare write':
    case 'days pass':
    case 'tally':
  }
  throw new Error(`'${kind}' is no fault`)
}
