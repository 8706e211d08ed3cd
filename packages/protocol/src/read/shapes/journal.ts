import type { Shapes } from '../server-message.ts'

/** The messages by which a server tells what changed when. */
export const journalShapes: Shapes = {
  flat: {
    JOURNAL_EVENT: 'epoch:s event:m subscriptionIds:S',
    JOURNAL_READ_RESPONSE: 'requestId:s epoch:s hasMore:b nextSequence:s events:M',
  },
  payload: {},
}
