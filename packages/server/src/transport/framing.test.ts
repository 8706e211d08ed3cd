import { assert, constantFrom, oneof, property, string, tuple, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as ws from 'ws'
import { framed } from './framing.ts'

/** What the library makes of a frame. */
function byLibrary(frame: string | Uint8Array): Buffer {
  const { Sender } = ws as unknown as { Sender: { frame(data: Buffer, options: object): Buffer[] } }
  const isText = typeof frame === 'string'
  return Buffer.concat(
    Sender.frame(Buffer.from(frame as string), { fin: true, opcode: isText ? 1 : 2, readOnly: true }),
  )
}

describe('frames of a server', () => {
  test.each([0, 1, 125, 126, 127, 65_535, 65_536, 200_000])('of %i bytes are those of RFC 6455', (length) => {
    for (const frame of ['x'.repeat(length), new Uint8Array(length).fill(7)]) {
      expect(framed([frame]).equals(byLibrary(frame))).toBe(true)
    }
  })

  test('are the same one by one and together, text in any language and bytes', () => {
    const frame = oneof(string({ unit: 'binary', maxLength: 300 }), uint8Array({ maxLength: 300 }))
    const list = oneof(
      tuple(frame),
      tuple(frame, frame, frame),
      tuple(constantFrom('same', 'other'), constantFrom('same')),
    )
    assert(
      property(list, (frames) => {
        const expected = Buffer.concat(frames.map(byLibrary))
        expect(framed(frames).equals(expected)).toBe(true)
        for (const each of frames) expect(framed([each]).equals(byLibrary(each))).toBe(true)
      }),
    )
  })

  test('that many sockets are sent are built once', () => {
    const frame = new Uint8Array(1_000)
    expect(framed([frame])).toBe(framed([frame]))
    expect(framed([new Uint8Array(1_000)])).not.toBe(framed([frame]))
  })
})
