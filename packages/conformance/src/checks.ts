import type { CheckGroup } from './check.ts'
import { counters } from './checks/counters.ts'
import { events } from './checks/events.ts'
import { frames } from './checks/frames.ts'
import { http } from './checks/http.ts'
import { journal } from './checks/journal.ts'
import { kinds } from './checks/kinds.ts'
import { locks } from './checks/locks.ts'
import { messaging } from './checks/messaging.ts'
import { queries } from './checks/queries.ts'
import { records } from './checks/records.ts'
import { search } from './checks/search.ts'
import { sessions } from './checks/sessions.ts'
import { sync } from './checks/sync.ts'
import { writes } from './checks/writes.ts'

/** All checks of a server, in the order in which they are made. */
export const checkGroups: readonly CheckGroup[] = [
  frames,
  sessions,
  writes,
  records,
  sync,
  events,
  queries,
  search,
  journal,
  kinds,
  counters,
  locks,
  messaging,
  http,
]
