import { isFieldName, isTag, itemKey, measureValue, utf8Length, type LwwRecord, type Value } from '@syncline/core'
import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import {
  anyMap,
  count,
  errorCode,
  fieldState,
  id,
  jsonForms,
  key,
  mapName,
  mapOf,
  named,
  stamp,
  ttlMs,
  value,
  wrapped,
} from './common.schema.ts'
import { fenceSchema } from './locks.schema.ts'
import {
  WRITE_CONCERNS,
  type ClientOp,
  type ItemEvent,
  type ItemOp,
  type MapKind,
  type OrRecord,
  type ServerBatchItemEvent,
  type ServerItemEvent,
  type ClientOpMessage,
  type MapEvent,
  type OpAck,
  type OpBatchMessage,
  type OpRejected,
  type OpResult,
  type ServerBatchEvent,
  type ServerEvent,
  type WireRecord,
  type WriteConcern,
} from './maps.ts'

/** The schema of a write level. */
export const writeConcernSchema: z.ZodType<WriteConcern> = named('writeConcern', z.enum(WRITE_CONCERNS))

/** The schema of a map's kind. */
export const mapKindSchema: z.ZodType<MapKind> = z.enum(['lww', 'or', 'pn'])

const tag = z.string().refine(isTag)
jsonForms.add(tag, { pattern: '^\\d{1,16}:\\d{1,5}:[^:]*$' })

/** The schema of an item of an OR-map. */
export const orRecordSchema: z.ZodType<OrRecord> = named(
  'orRecord',
  z.object({
    value: value.refine((each) => each !== null),
    timestamp: stamp,
    tag,
    ttlMs: ttlMs.exactOptional(),
  }),
)

/** A condition that is not built: a message that asks for it is refused, because to ignore it would be to lie. */
const notBuilt = z.undefined().optional()

const timeout = z.number().positive().max(LIMITS.writeTimeoutMsMax)

const fields: z.ZodType<NonNullable<LwwRecord['fields']>> = mapOf(
  fieldState,
  (names) => names.length <= LIMITS.recordFields && names.every(isStampedName),
  LIMITS.recordFields,
)

/** The schema of a record on the wire. */
export const wireRecordSchema: z.ZodType<WireRecord> = named(
  'record',
  z.object({
    value,
    timestamp: stamp,
    base: stamp.exactOptional(),
    ttlMs: ttlMs.exactOptional(),
    fields: fields.exactOptional(),
    version: count.exactOptional(),
  }),
)

/** The schema of an op in its normal form. Which parts of a record it may have depends on what it does. */
export const clientOpSchema: z.ZodType<ClientOp> = z
  .object({
    id: id.exactOptional(),
    mapName,
    key,
    opType: z.enum(['PUT', 'REMOVE', 'PATCH']).exactOptional(),
    record: z.object({
      value,
      timestamp: stamp,
      ttlMs: ttlMs.exactOptional(),
      unset: z.array(z.string()).exactOptional(),
    }),
    writeConcern: writeConcernSchema.exactOptional(),
    timeout: timeout.exactOptional(),
    fence: fenceSchema.exactOptional(),
  })
  .refine(({ opType = 'PUT', record }) => {
    if (opType === 'REMOVE') return record.value === null && record.ttlMs === undefined && record.unset === undefined
    if (opType === 'PUT') return record.value !== null && record.unset === undefined
    return record.ttlMs === undefined && isPatch(record.value, record.unset ?? [])
  })

const itemOpShape = {
  id: id.exactOptional(),
  mapName,
  key,
  writeConcern: writeConcernSchema.exactOptional(),
  timeout: timeout.exactOptional(),
  fence: fenceSchema.exactOptional(),
}

/** The schema of an op on an OR-map. Its tag and key together have the limit of a key. */
export const itemOpSchema: z.ZodType<ItemOp> = z
  .union([
    z.object({ ...itemOpShape, opType: z.literal('OR_ADD'), orRecord: orRecordSchema }),
    z.object({
      ...itemOpShape,
      opType: z.literal('OR_REMOVE'),
      orTag: tag,
      timestamp: stamp.exactOptional(),
    }),
  ])
  .refine((op) => utf8Length(itemKey('orTag' in op ? op.orTag : op.orRecord.tag, op.key)) <= LIMITS.keyBytes)

/** The schema of an op on whatever kind of map. */
export const anyOpSchema: z.ZodType<ClientOp | ItemOp> = z.union([clientOpSchema, itemOpSchema])

const opResult: z.ZodType<OpResult> = z.object({
  opId: z.string(),
  success: z.boolean(),
  achievedLevel: writeConcernSchema,
  latencyMs: z.number().min(0),
  seq: count.exactOptional(),
  superseded: z.literal(true).exactOptional(),
  error: z.string().exactOptional(),
  errorCode: errorCode.exactOptional(),
  details: anyMap.exactOptional(),
})

const eventShape = {
  mapName,
  eventType: z.enum(['PUT', 'REMOVE']),
  key,
  record: wireRecordSchema,
  seq: count,
}

/** The schema of the change of one record. */
export const mapEventSchema: z.ZodType<MapEvent> = z.object(eventShape)

/** The schema of CLIENT_OP. */
export const clientOpMessageSchema: z.ZodType<ClientOpMessage<ClientOp | ItemOp>> = wrapped('CLIENT_OP', anyOpSchema)

/** The schema of OP_BATCH. */
export const opBatchSchema: z.ZodType<OpBatchMessage<ClientOp | ItemOp>> = wrapped(
  'OP_BATCH',
  z.object({
    ops: z.array(anyOpSchema).max(LIMITS.batchOps),
    writeConcern: writeConcernSchema.exactOptional(),
    timeout: timeout.exactOptional(),
    atomic: notBuilt,
    expect: notBuilt,
    transactionId: notBuilt,
  }),
)

/** The schema of what an OP_ACK says. */
export const opAckPayloadSchema: z.ZodType<OpAck['payload']> = z.object({
  lastId: z.string(),
  achievedLevel: writeConcernSchema.exactOptional(),
  results: z.array(opResult),
})

/** The schema of OP_ACK. */
export const opAckSchema: z.ZodType<OpAck> = wrapped('OP_ACK', opAckPayloadSchema)

/** The schema of OP_REJECTED. */
export const opRejectedSchema: z.ZodType<OpRejected> = wrapped(
  'OP_REJECTED',
  z.object({ opId: z.string(), reason: z.string(), code: z.int(), errorCode }),
)

/** The schema of the change of one item, as existing clients know it. */
export const itemEventSchema: z.ZodType<ItemEvent> = z.union([
  z.object({ mapName, key, seq: count, eventType: z.literal('OR_ADD'), orRecord: orRecordSchema }),
  z.object({ mapName, key, seq: count, eventType: z.literal('OR_REMOVE'), orTag: tag }),
])

/** The schema of SERVER_EVENT. */
export const serverEventSchema: z.ZodType<ServerEvent | ServerItemEvent> = z.union([
  wrapped('SERVER_EVENT', z.object({ ...eventShape, cursor: z.string().exactOptional() })),
  wrapped('SERVER_EVENT', itemEventSchema),
])

/** The schema of SERVER_BATCH_EVENT. */
export const serverBatchEventSchema: z.ZodType<ServerBatchEvent | ServerBatchItemEvent> = z.union([
  wrapped(
    'SERVER_BATCH_EVENT',
    z.object({
      mapName,
      cursor: z.string().exactOptional(),
      seq: count.exactOptional(),
      prunedThroughSeq: count.exactOptional(),
      events: z.array(mapEventSchema),
    }),
  ),
  wrapped('SERVER_BATCH_EVENT', z.object({ mapName, events: z.array(itemEventSchema) })),
])

/** The schema of a record that a client pushes: its field stamps count in the limit of its value. */
export const pushedRecordSchema: z.ZodType<WireRecord> = wireRecordSchema.refine(({ value, fields }) => {
  let size = sizeOf(value)
  for (const [name, state] of Object.entries(fields ?? {})) {
    size += 4 + utf8Length(name) + 16 + utf8Length(state.stamp.nodeId) + 1
    if (state.value !== undefined) size += sizeOf(state.value)
  }
  return size <= LIMITS.valueBytes
})

function sizeOf(value: Value): number {
  return measureValue(value) as number
}

function isStampedName(name: string): boolean {
  return isFieldName(name) && utf8Length(name) <= LIMITS.fieldNameBytes
}

function isPatch(set: unknown, unset: readonly string[]): boolean {
  if (!anyMap.safeParse(set).success) return false
  const names = [...Object.keys(set as object), ...unset]
  return (
    names.length > 0 &&
    names.length <= LIMITS.recordFields &&
    new Set(names).size === names.length &&
    names.every(isStampedName)
  )
}
