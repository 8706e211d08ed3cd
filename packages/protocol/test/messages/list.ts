import type { MessageCases } from './cases.ts'
import { counters } from './counters.ts'
import { envelope } from './envelope.ts'
import { httpSync } from './http-sync.ts'
import { locks } from './locks.ts'
import { journal } from './journal.ts'
import { maps } from './maps.ts'
import { merkleSync } from './merkle-sync.ts'
import { partitions } from './partitions.ts'
import { sets } from './sets.ts'
import { queries } from './queries.ts'
import { search } from './search.ts'
import { rooms } from './rooms.ts'
import { sessions } from './sessions.ts'
import { topics } from './topics.ts'

/** The examples of each feature. A file of vectors in `vectors/messages` has the name of each. */
export const messageCases: Readonly<Record<string, MessageCases>> = {
  envelope,
  sessions,
  maps,
  'merkle-sync': merkleSync,
  sets,
  counters,
  queries,
  locks,
  partitions,
  search,
  journal,
  'http-sync': httpSync,
  topics,
  rooms,
}
