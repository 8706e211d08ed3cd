import type { Random } from './random.ts'
import { BUSY_MS, DAY_MS, FIELDS, HOUR_MS, type Step } from './steps.ts'
import type { WorldOptions } from './world-options.ts'

/** What befalls somebody, and is not what they do. */
type Fault = Exclude<Step['kind'], 'write' | 'bare write' | 'tally' | 'lock' | 'publish' | 'show' | 'days pass'>

export function planWrite(
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

/** What a bare client writes, at once or late. */
export function planBareWrite(random: Random, maps: readonly string[], keys: readonly string[], atMs: number): Step {
  const lateMs = random.chance(0.3) ? Math.round(random.skewed(0, 8_000)) : 0
  return {
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
  }
}

/** How often each fault is to come, by the taste of a seed. */
export function faultWeights(
  taste: Random,
  { signIn, bareClients }: WorldOptions,
  isStormy: boolean,
): Record<Fault, number> {
  return {
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
    'sign-in fails': signIn === undefined ? 0 : taste.pick([0, 1]),
    'sign out': signIn === undefined ? 0 : taste.pick([0, 0, 1]),
    'change user': signIn === undefined ? 0 : taste.pick([0, 0, 1, 2]),
    pry: bareClients.some(({ role }) => role === 'guest') ? 1 : 0,
  }
}

export function planFault(random: Random, kind: Fault, atMs: number): Step {
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
    default:
      return { ...at, kind }
  }
}
