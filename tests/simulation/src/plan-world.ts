import type { Encoding } from '@syncline/protocol'
import { planQuery, type PlainQuery } from './live-queries.ts'
import type { Random } from './random.ts'
import { FIELDS, HOUR_MS } from './steps.ts'
import { SHARED_MAPS, VAULT, type Role } from './users.ts'
import type { WorldOptions } from './world-options.ts'

/** Plans who there is. */
export function planWorld(
  taste: Random,
  isStormy: boolean,
): Omit<WorldOptions, 'hasTallies' | 'usesLocks' | 'gathers'> {
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
    searches: false,
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
