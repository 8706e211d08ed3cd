import type { ErrorCode } from '../errors.ts'

/** The two encodings of a frame: JSON in text frames, MessagePack in binary ones. */
export type Encoding = 'json' | 'msgpack'

/** Why a frame could not be decoded. */
export interface CodecFault {
  readonly errorCode: ErrorCode
  /** One sentence: what is wrong with the frame. */
  readonly message: string
}
