import { measureValue, normalizeRecord, type Value } from '@syncline/core'
import { canonicalRecord, formatDigest, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { decodeFrame, encodeFrame } from '../src/codec/frame.ts'
import { decodeValueJson, encodeValueJson } from '../src/codec/json.ts'
import { decodeValueMsgpack, encodeValueMsgpack } from '../src/codec/msgpack.ts'
import { joinBatch } from '../src/codec/batch.ts'
import { readClientMessage } from '../src/read/client-message.ts'
import { isRefusedOp } from '../src/read/op.ts'
import { toWireRecord } from '../src/read/server-message.ts'
import { messages, records, refusedFrames, refusedMessages, values } from './vector-cases.ts'

/** A file of vectors: what it holds, and the cases. Bytes are hexadecimal, values as in a JSON frame. */
export interface VectorFile {
  readonly name: string
  readonly vectors: readonly object[]
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const tagged = (value: unknown): unknown => JSON.parse(encodeValueJson(value as Value))

/** Everything that vectors/ holds, computed anew. */
export function buildVectors(): readonly VectorFile[] {
  return [
    {
      name: 'values',
      vectors: values.map(([name, rules, value]) => ({
        name,
        rules,
        json: encodeValueJson(value),
        msgpack: hex(encodeValueMsgpack(value)),
        canonicalBytes: measureValue(value),
      })),
    },
    {
      name: 'messages',
      vectors: messages.map(([rules, message]) => ({
        name: message.type,
        rules,
        json: encodeFrame('json', message),
        msgpack: hex(encodeFrame('msgpack', message) as Uint8Array),
      })),
    },
    {
      name: 'batches',
      vectors: [[], ['c0'], ['81a474797065a450494e47', '01']].map((frames) => ({
        rules: 'FR16',
        frames,
        msgpack: hex(joinBatch(frames.map((frame) => new Uint8Array(Buffer.from(frame, 'hex'))))),
      })),
    },
    {
      name: 'refused-frames',
      vectors: refusedFrames.map(([name, rules, frame]) => {
        const bytes =
          typeof frame === 'string'
            ? frame
            : Buffer.concat(frame.map((part) => Buffer.from(typeof part === 'string' ? part : [part])))
        const decoded = decodeFrame(bytes)
        return {
          name,
          rules,
          ...(typeof bytes === 'string' ? { json: bytes } : { msgpack: hex(bytes) }),
          errorCode: decoded.ok ? null : decoded.error.errorCode,
        }
      }),
    },
    {
      name: 'refused-messages',
      vectors: refusedMessages.map(([name, rules, message]) => {
        const result = readClientMessage(message)
        const inPlace =
          result.ok && result.value.type === 'CLIENT_OP' && isRefusedOp(result.value.payload)
            ? result.value.payload.refused
            : undefined
        const { errorCode, details } = result.ok ? (inPlace ?? { errorCode: null, details: undefined }) : result.error
        return {
          name,
          rules,
          message: tagged(message),
          errorCode,
          ...(details === undefined ? {} : { path: details['path'] }),
        }
      }),
    },
    {
      name: 'records',
      vectors: records.map(([name, key, wire]) => {
        const record = normalizeRecord(wire)
        return {
          name,
          rules: 'SY4 SY8',
          key,
          received: tagged(wire),
          sent: tagged(toWireRecord(record)),
          canonical: hex(canonicalRecord(key, record)),
          digest: formatDigest(stampDigest(fnv1a(key), record.timestamp), stateDigest(key, record)),
        }
      }),
    },
  ]
}

/** The text of a file of vectors: one case a line, so that a change is seen case by case. */
export function vectorText({ vectors }: VectorFile): string {
  return `[\n${vectors.map((vector) => `  ${JSON.stringify(vector)}`).join(',\n')}\n]\n`
}

/** Reads a value back from the form that vectors have it in. */
export function fromVector(form: { readonly json?: string; readonly msgpack?: string }): unknown {
  const decoded =
    form.json === undefined
      ? decodeValueMsgpack(Buffer.from(form.msgpack as string, 'hex'))
      : decodeValueJson(form.json)
  if (!decoded.ok) throw new Error(decoded.error.message)
  return decoded.value
}
