// What clients must know stands by itself, so that their bundles need not hold the whole table.

/** A record's key, in bytes of UTF-8. */
export const KEY_BYTES = 512

/** A map's name, in bytes of UTF-8. */
export const MAP_NAME_BYTES = 128

/** A value in canonical encoding, field stamps and unset markers included. */
export const VALUE_BYTES = 256 * 1024

/** Operations in one batch, records in one push. */
export const BATCH_OPS = 1_000

/** A lock's name, in bytes of UTF-8. */
export const LOCK_NAME_BYTES = 256

/** A counter's name, in bytes of UTF-8: a map's name without the `counter:` before it. */
export const COUNTER_NAME_BYTES = MAP_NAME_BYTES - 8

/** A topic's name, in characters. */
export const TOPIC_LENGTH = 256

/** The one limits table. Sizes are in bytes of UTF-8 or of canonical encoding, counts are whole numbers. */
export const LIMITS = {
  keyBytes: KEY_BYTES,
  mapNameBytes: MAP_NAME_BYTES,
  counterNameBytes: COUNTER_NAME_BYTES,
  /** Nodes in one COUNTER_SYNC. */
  counterRows: 10_000,
  /** Counters that one connection follows. */
  countersPerConnection: 1_000,
  /** A field's name, in bytes of UTF-8. */
  fieldNameBytes: 512,
  /** Nesting of arrays and maps in one value. */
  valueDepth: 32,
  valueBytes: VALUE_BYTES,
  /** Field stamps and unset markers of one record. */
  recordFields: 1_024,
  batchOps: BATCH_OPS,
  /** A frame before authentication. */
  frameBytesBeforeAuth: 64 * 1024,
  /** A frame after it, unless `connections.maxPayload` says otherwise. */
  frameBytes: 64 * 1024 * 1024,
  /** Nesting of a whole frame: a value of full depth in the deepest envelope. */
  frameDepth: 40,
  /** Milliseconds that a write may wait for its level, unless it says otherwise. */
  writeTimeoutMs: 5_000,
  /** Longest such wait that a client may ask for. */
  writeTimeoutMsMax: 300_000,
  /** Ops and batches of one connection that wait until they are stored. Beyond it, those that would wait are refused. */
  waitingWritesPerConnection: 1_000,
  /** Live queries of one connection. */
  queriesPerConnection: 100,
  /** Maps that one connection follows. */
  mapsPerConnection: 1_000,
  lockNameBytes: LOCK_NAME_BYTES,
  /** Records in one page of a diff, leaf or query reply. */
  pageRecords: 500,
  /** Encoded bytes in one page, unless a single record is larger. */
  pageBytes: 256 * 1024,
  /** Keys in one SYNC_FETCH, paths in one SYNC_LEAVES. */
  fetchKeys: 10_000,
  /** An id of an operation, query or request, in UTF-16 code units. */
  idLength: 128,
  /** A stamp's node id, in UTF-16 code units. */
  nodeIdLength: 128,
  /** The cursor of a map, in UTF-16 code units. */
  cursorLength: 1_024,
  /** The cursor of a query, which holds a key and sort values, in UTF-16 code units. */
  queryCursorLength: 64 * 1024,
  /** `where`, `predicate` and `sort` of a query together, in canonical encoding. */
  queryBytes: 64 * 1024,
  /** Fields that a query may sort by. */
  sortFields: 16,
  /** Fields that a query may have its rows shown with. */
  queryFields: 100,
  /** Rows that a query may ask for at once. 0 asks for all. */
  queryLimit: 100_000,
  /** The text of a search, in UTF-16 code units. */
  searchQueryLength: 1_024,
  /** Different terms of a search. */
  searchTerms: 32,
  /** Fields that a search may name. */
  searchFields: 16,
  /** Rows that a search gives. */
  searchLimit: 1_000,
  /** Live searches of one connection. */
  searchesPerConnection: 100,
  /** Events in one page of the journal. */
  journalPage: 100,
  /** Journal subscriptions of one connection. */
  journalsPerConnection: 100,
  /** Maps, queries or searches in one `POST /sync`. */
  httpParts: 100,
  topicLength: TOPIC_LENGTH,
  /** Topics that one connection subscribes to. */
  topicsPerConnection: 100,
  /** A room's name, in characters. */
  roomLength: 128,
  /** Rooms that one connection is in. */
  roomsPerConnection: 100,
  /** What one member of a room shows, in canonical encoding. */
  presenceBytes: 4 * 1024,
  /** The secret by which a member of rooms comes back, in UTF-16 code units. */
  resumeLength: 512,
} as const
