// What writes are acknowledged with, encoded by hand: every write is answered by one.
import { WRITE_CONCERNS, type OpAck, type OpResult, type WriteConcern } from '../messages/maps.ts'
import { encodedTexts, writeMsgpack, type MsgpackWriter } from './msgpack-writer.ts'
import { quote, stringify } from './tagged-json.ts'

/** The JSON text of an acknowledgement. */
export function ackToJson({ lastId, achievedLevel, results }: OpAck['payload']): string {
  const level = achievedLevel === undefined ? '' : `"achievedLevel":"${achievedLevel}",`
  const [first] = results
  const list = results.length === 1 && first !== undefined ? resultToJson(first) : results.map(resultToJson).join(',')
  return `{"lastId":${quote(lastId)},${level}"results":[${list}]}`
}

/** Writes an acknowledgement as MessagePack. */
export function writeAck(writer: MsgpackWriter, { lastId, achievedLevel, results }: OpAck['payload']): void {
  writer.mapHead(achievedLevel === undefined ? 2 : 3)
  writer.raw(LAST_ID)
  writer.text(lastId)
  writer.raw(achievedLevel === undefined ? RESULTS : LEVEL_AND_RESULTS[achievedLevel])
  writer.listHead(results.length)
  for (const result of results) writeResult(writer, result)
}

/** Says whether a result is that of a write which was simply accepted. All others are rare and may hold anything. */
function isOrdinary(result: OpResult): result is OpResult & { readonly seq: number } {
  const { success, seq, superseded, error, errorCode, details } = result
  return success && seq !== undefined && (superseded ?? error ?? errorCode ?? details) === undefined
}

function resultToJson(result: OpResult): string {
  if (!isOrdinary(result)) return stringify(result)
  const { opId, achievedLevel, latencyMs, seq } = result
  return `{"opId":${quote(opId)},"success":true,"achievedLevel":"${achievedLevel}","latencyMs":${latencyMs},"seq":${seq}}`
}

function writeResult(writer: MsgpackWriter, result: OpResult): void {
  if (!isOrdinary(result)) return writer.value(result)
  const { opId, achievedLevel, latencyMs, seq } = result
  writer.raw(OP_ID)
  writer.text(opId)
  writer.raw(SUCCESS_AT_LEVEL[achievedLevel])
  writer.number(latencyMs)
  writer.raw(SEQ)
  writer.number(seq)
}

// What acknowledgements have in common, encoded once.

const LAST_ID = encodedTexts('lastId')
const RESULTS = encodedTexts('results')
const LEVEL_AND_RESULTS = byLevel((level) => encodedTexts('achievedLevel', level, 'results'))
const OP_ID = writeMsgpack((writer) => {
  writer.mapHead(5)
  writer.text('opId')
})
const SUCCESS_AT_LEVEL = byLevel((level) =>
  writeMsgpack((writer) => {
    writer.text('success')
    writer.boolean(true)
    for (const text of ['achievedLevel', level, 'latencyMs']) writer.text(text)
  }),
)
const SEQ = encodedTexts('seq')

function byLevel(encode: (level: WriteConcern) => Uint8Array): Readonly<Record<WriteConcern, Uint8Array>> {
  return Object.fromEntries(WRITE_CONCERNS.map((level) => [level, encode(level)])) as Record<WriteConcern, Uint8Array>
}
