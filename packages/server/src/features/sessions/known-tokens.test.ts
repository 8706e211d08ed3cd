import { describe, expect, test } from 'vitest'
import { KnownTokens } from './known-tokens.ts'

const START = 1_800_000_000_000
const ann = { userId: 'ann', roles: ['USER'] }

describe('tokens that are known', () => {
  test('INV-21: end with their rights', () => {
    const known = new KnownTokens()
    known.add('token', { ...ann, expiresAtMs: START + 5_000 })
    expect(known.principalOf('token', START + 4_999)?.userId).toBe('ann')
    expect(known.principalOf('token', START + 5_000)).toBeUndefined()
  })

  test('stay the same as long as they are sent', () => {
    const known = new KnownTokens()
    known.principalOf('token', START)
    known.add('token', ann)
    for (let ms = 0; ms < 3_600_000; ms += 50_000) {
      expect(known.principalOf('other', START + ms)).toBeUndefined()
      expect(known.principalOf('token', START + ms)).toBe(ann)
    }
  })

  test('are forgotten within two minutes of others once they are not sent any more', () => {
    const known = new KnownTokens()
    known.principalOf('token', START)
    known.add('token', ann)
    for (let ms = 0; ms <= 120_000; ms += 10_000) known.principalOf('other', START + ms)
    expect(known.principalOf('token', START + 120_000)).toBeUndefined()
  })

  test('INV-22: are so many characters at most, of which the latest stay', () => {
    const known = new KnownTokens()
    const tokenOf = (i: number): string => `${i}.`.padEnd(60_000, 'x')
    for (let i = 0; i < 1_000; i++) known.add(tokenOf(i), { ...ann, userId: `user-${i}` })
    const kept = Array.from({ length: 1_000 }, (_, i) => i).filter(
      (i) => known.principalOf(tokenOf(i), 0) !== undefined,
    )
    expect(kept.length).toBeGreaterThan(100)
    expect(kept.length * 60_000).toBeLessThanOrEqual(16_777_216)
    expect(kept.at(-1)).toBe(999)
  })
})
