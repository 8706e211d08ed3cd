import type { Random } from './random.ts'
import { DAY_MS, FIELDS, HOUR_MS, type Step } from './steps.ts'

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

export function planFault(random: Random, kind: Step['kind'], atMs: number): Step {
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
    case 'lock':
    case 'publish':
    case 'show':
  }
  throw new Error(`'${kind}' is no fault`)
}
