import { err, ok, type Result, type Value } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { Message } from '../message.ts'
import type { CodecFault } from './fault.ts'
import { DecodeFault, decodeBytes } from './msgpack-decoder.ts'
import { writeMsgpack } from './msgpack-writer.ts'

/** Encodes a message as the bytes of one MessagePack frame (SPEC [FR2]). The bytes are not written to again. */
export function encodeMsgpack(message: Message): Uint8Array {
  return writeMsgpack((to) => to.value(message))
}

/** Encodes one value as MessagePack. */
export function encodeValueMsgpack(value: Value): Uint8Array {
  return writeMsgpack((to) => to.value(value))
}

/**
 * Decodes the bytes of one MessagePack frame (SPEC [FR6] to [FR9]). What it holds is checked by `readClientMessage` or
 * `readServerMessage`. Nothing of the result shares memory with the frame.
 */
export function decodeMsgpack(bytes: Uint8Array): Result<unknown, CodecFault> {
  return decode(bytes, LIMITS.frameDepth)
}

/** Decodes one value from MessagePack. `measureValue` says whether it can be stored. */
export function decodeValueMsgpack(bytes: Uint8Array): Result<unknown, CodecFault> {
  return decode(bytes, LIMITS.valueDepth)
}

function decode(bytes: Uint8Array, maxDepth: number): Result<unknown, CodecFault> {
  try {
    return ok(decodeBytes(bytes, maxDepth))
  } catch (error) {
    if (error instanceof DecodeFault) return err({ errorCode: error.errorCode, message: error.message })
    throw error
  }
}

export { isBatch, joinBatch, splitBatch } from './batch.ts'
