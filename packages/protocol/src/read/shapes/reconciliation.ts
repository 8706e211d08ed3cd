import type { Shapes } from '../server-message.ts'

/** The messages by which maps are compared, what the server lacks is brought over, and writes without an answer are refused. */
export const reconciliationShapes: Shapes = {
  flat: {},
  payload: {
    OP_REJECTED: 'opId:s reason:s code:n errorCode:s',
    SYNC_PUSH_RESP: 'mapName:s accepted:n more:b? refused:[key:s,errorCode:s,message:s,record:r?,seq:n?]',
    SYNC_TRIE_RESP: 'mapName:s digest:s leaves:y',
    SYNC_LEAVES_RESP: 'mapName:s digests:y more:b keys:S',
    SYNC_RECORDS: 'mapName:s more:b records:K absent:S',
  },
}
