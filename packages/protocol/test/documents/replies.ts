import type { ClientMessage, ServerMessage } from '../../src/message.ts'

/** What a server answers to each message of a client, in the order in which it may come; ERROR is possible for all. */
export const replies: Readonly<Record<ClientMessage['type'], readonly ServerMessage['type'][]>> = {
  AUTH: ['AUTH_ACK', 'AUTH_FAIL'],
  PING: ['PONG'],
  CLIENT_OP: ['OP_REJECTED', 'OP_ACK'],
  OP_BATCH: ['OP_REJECTED', 'OP_ACK'],
  SYNC_INIT: ['SYNC_DIFF', 'SYNC_RESP_ROOT', 'SYNC_RESET_REQUIRED', 'SERVER_EVENT', 'SERVER_BATCH_EVENT'],
  SYNC_STOP: [],
  SYNC_PUSH: ['SYNC_PUSH_RESP'],
  SYNC_TRIE: ['SYNC_TRIE_RESP'],
  SYNC_LEAVES: ['SYNC_LEAVES_RESP'],
  SYNC_FETCH: ['SYNC_RECORDS'],
  SYNC_DELTA: ['SYNC_DELTA_RESP'],
  MERKLE_REQ_BUCKET: ['SYNC_RESP_BUCKETS', 'SYNC_RESP_LEAF'],
  QUERY_SUB: ['QUERY_RESP', 'QUERY_UPDATE'],
  QUERY_UNSUB: [],
  SEARCH: ['SEARCH_RESP'],
  SEARCH_SUB: ['SEARCH_RESP', 'SEARCH_UPDATE'],
  SEARCH_UNSUB: [],
  JOURNAL_SUBSCRIBE: ['JOURNAL_EVENT'],
  JOURNAL_UNSUBSCRIBE: [],
  JOURNAL_READ: ['JOURNAL_READ_RESPONSE'],
  LOCK_REQUEST: ['LOCK_GRANTED', 'LOCK_RELEASED'],
  LOCK_RELEASE: ['LOCK_RELEASED'],
}
