import { err, ok, type Result, type Value } from '@syncline/core'
import { Packr, Unpackr } from 'msgpackr'
import { LIMITS } from '../limits.ts'
import type { ClientMessage, ServerMessage } from '../message.ts'
import type { CodecFault } from './fault.ts'
import { SCAN_BAD_KEY, SCAN_BAD_VALUE, SCAN_BROKEN, SCAN_TOO_DEEP, scanShape } from './shape-scan.ts'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number', copyBuffers: true })

/** Encodes a message as the bytes of one MessagePack frame (SPEC [FR2]). The bytes are not written to again. */
export function encodeMsgpack(message: ServerMessage | ClientMessage): Uint8Array {
  return packr.pack(message)
}

/** Encodes one value as MessagePack. */
export function encodeValueMsgpack(value: Value): Uint8Array {
  return packr.pack(value)
}

/** Encodes part of a message as MessagePack. */
export function encodeUnknownMsgpack(part: unknown): Uint8Array {
  return packr.pack(part)
}

/**
 * Decodes the bytes of one MessagePack frame, whose shape is scanned before anything is built (SPEC [FR6] to [FR9]).
 * What it holds is checked by `readClientMessage` or `readServerMessage`.
 */
export function decodeMsgpack(bytes: Uint8Array): Result<unknown, CodecFault> {
  const found = scanShape(bytes, LIMITS.frameDepth)
  if (found < 0) return err(FAULTS[found] as CodecFault)
  return ok(unpackr.unpack(bytes))
}

const FAULTS: Readonly<Record<number, CodecFault>> = {
  [SCAN_BROKEN]: { errorCode: 'PARSE_ERROR', message: 'The frame is not one MessagePack value.' },
  [SCAN_TOO_DEEP]: { errorCode: 'TOO_DEEP', message: `The frame nests deeper than ${LIMITS.frameDepth} levels.` },
  [SCAN_BAD_VALUE]: {
    errorCode: 'BAD_VALUE',
    message: 'The frame holds an extension, a number that is neither finite nor safe, or a text that is not UTF-8.',
  },
  [SCAN_BAD_KEY]: {
    errorCode: 'BAD_KEY',
    message: 'A map in the frame has a key that is no text, is reserved or comes twice.',
  },
}

export { isBatch, joinBatch, splitBatch } from './batch.ts'
