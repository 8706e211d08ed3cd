import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compareText } from './text-order.ts'

it('orders text as its UTF-8 bytes do', () => {
  const text = fc.string({
    unit: fc.constantFrom('', 'a', 'b', '\u07ff', '\ud7ff', '\ue000', '\uffff', '😀', '\u{10ffff}'),
  })
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareText(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
    }),
  )
})
