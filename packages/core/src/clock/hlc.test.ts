import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LAW, RUNS } from '../../test/property.ts'
import { HybridClock, MAX_COUNTER, ZERO_STAMP, compareStamps, isStamp, maxStamp, type Stamp } from './hlc.ts'
import { formatStamp, parseStamp } from './stamp-text.ts'

const at = (millis: number, counter: number, nodeId = 'other'): Stamp => ({ millis, counter, nodeId })

/** Where the clock stands, seen without moving it: a tick one step on. */
function tickOf(clock: HybridClock, wallMs: number): [number, number] {
  const { millis, counter } = clock.tick(wallMs)
  return [millis, counter]
}

const anyStamp = fc.record({
  millis: fc.oneof(fc.nat({ max: 5 }), fc.maxSafeNat()),
  counter: fc.oneof(fc.nat({ max: 2 }), fc.nat({ max: MAX_COUNTER })),
  nodeId: fc.string({ maxLength: 4 }).filter((id) => !/[:\u0000]/.test(id)),
})

describe('stamps', () => {
  it('[HC1] a stamp is read back from its text', LAW, () => {
    fc.assert(
      fc.property(anyStamp, (stamp) => {
        expect(parseStamp(formatStamp(stamp))).toEqual(stamp)
      }),
      { numRuns: RUNS },
    )
    expect(formatStamp(at(1_706_000_000_000, 1, 'client-1'))).toBe('1706000000000:1:client-1')
  })

  it.each([
    '',
    '1',
    '1:2',
    '1:2:a:b',
    ':0:a',
    '1::a',
    '-1:0:a',
    '1.5:0:a',
    '01:0:a',
    '1:00:a',
    '1e3:0:a',
    ' 1:0:a',
    '1:65536:a',
    '9007199254740992:0:a',
  ])('[HC1] %j is no stamp', (text) => {
    expect(parseStamp(text)).toBeUndefined()
  })

  it('[HC1] a stamp from outside must be one that a clock can have issued', () => {
    expect(isStamp(at(0, 0, ''))).toBe(true)
    expect(isStamp(at(Number.MAX_SAFE_INTEGER, MAX_COUNTER, 'é'.repeat(128)))).toBe(true)
    for (const wrong of [
      null,
      undefined,
      'x',
      [],
      {},
      at(-1, 0),
      at(0.5, 0),
      at(Number.NaN, 0),
      at(Number.POSITIVE_INFINITY, 0),
      at(2 ** 53, 0),
      at(0, -1),
      at(0, 0.5),
      at(0, MAX_COUNTER + 1),
      at(0, 0, 'a:b'),
      at(0, 0, 'a'.repeat(129)),
      at(0, 0, '\ud800'),
      at(0, 0, 'a\u0000'),
      { millis: 0, counter: 0 },
      { millis: '0', counter: 0, nodeId: 'a' },
    ]) {
      expect(isStamp(wrong)).toBe(false)
    }
  })

  it('[HC2] stamps are ordered by millis, then counter, then node id by code unit', () => {
    const ordered = [
      ZERO_STAMP,
      at(0, 0, 'B'),
      at(0, 0, 'a'),
      at(0, 0, 'node-10'),
      at(0, 0, 'node-9'),
      at(0, 1, ''),
      at(1, 0, ''),
    ]
    for (const [i, a] of ordered.entries()) {
      for (const [j, b] of ordered.entries()) {
        expect(Math.sign(compareStamps(a, { ...b }))).toBe(Math.sign(i - j))
        expect(maxStamp(a, b)).toBe(ordered[Math.max(i, j)])
      }
    }
  })
})

describe('the clock', () => {
  it('[HC3] issues (wall, 0), then counts within the millisecond', () => {
    const clock = new HybridClock('n')
    expect(clock.tick(1000)).toEqual({ millis: 1000, counter: 0, nodeId: 'n' })
    expect(clock.tick(1000)).toEqual({ millis: 1000, counter: 1, nodeId: 'n' })
    expect(tickOf(new HybridClock('n'), 0)).toEqual([0, 0])
  })

  it('[HC4] observes as existing clients do, vector by vector', () => {
    const clock = new HybridClock('n')
    tickOf(clock, 1000)
    tickOf(clock, 1000)
    clock.observe(at(1000, 7), 1000)
    expect(clock.millis).toBe(1000)
    expect(tickOf(clock, 1000)).toEqual([1000, 9])
    clock.observe(at(900, 50), 1000)
    expect(tickOf(clock, 1000)).toEqual([1000, 11])
    clock.observe(at(2000, 3), 1000)
    expect(clock.millis).toBe(2000)
    expect(tickOf(clock, 1000)).toEqual([2000, 5])
    clock.observe(at(2000, 3), 5000)
    expect(clock.millis).toBe(5000)
    expect(tickOf(clock, 5000)).toEqual([5000, 1])
  })

  it('[HC4] a wall clock as late as the stamp does not reset the counter', () => {
    const clock = new HybridClock('n')
    clock.observe(at(2000, 3), 2000)
    expect(tickOf(clock, 2000)).toEqual([2000, 5])
  })

  it('[HC4] a stamp whose numbers are not whole is ignored', () => {
    const clock = new HybridClock('n', at(1000, 0))
    for (const wrong of [at(Number.NaN, 0), at(Number.POSITIVE_INFINITY, 0), at(2000.5, 0), at(2000, Number.NaN)]) {
      clock.observe(wrong, 1000)
    }
    expect(tickOf(clock, 1000)).toEqual([1000, 1])
  })

  it('[HC3] [HC4] after counter 65,535 comes the next millisecond', () => {
    expect(tickOf(new HybridClock('n', at(1000, MAX_COUNTER)), 1000)).toEqual([1001, 0])
    expect(tickOf(new HybridClock('n', at(1000, MAX_COUNTER - 1)), 1000)).toEqual([1000, MAX_COUNTER])
    const clock = new HybridClock('n')
    clock.observe(at(2000, MAX_COUNTER), 1000)
    expect(tickOf(clock, 1000)).toEqual([2001, 1])
  })

  it('[HC5] a clock goes on above the stamp that it is started after', () => {
    expect(tickOf(new HybridClock('n', at(5000, 7)), 1000)).toEqual([5000, 8])
  })

  it(
    '[HC5] every stamp is valid and greater than all issued and observed before, whatever the wall clock does',
    LAW,
    () => {
      const wall = fc.oneof(fc.nat({ max: 20 }), fc.constant(Number.NaN))
      const remote = fc.record({
        millis: fc.nat({ max: 20 }),
        counter: fc.constantFrom(0, 1, MAX_COUNTER - 1, MAX_COUNTER),
        nodeId: fc.constantFrom('a', 'n', 'z'),
      })
      const step = fc.record({ wall, remote: fc.option(remote) })
      fc.assert(
        fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
          const clock = new HybridClock('n')
          let latest = ZERO_STAMP
          for (const { wall: wallMs, remote: seen } of steps) {
            if (seen !== null) {
              clock.observe(seen, wallMs)
              latest = maxStamp(latest, seen)
            }
            const issued = clock.tick(wallMs)
            if (!isStamp(issued) || compareStamps(issued, latest) <= 0) throw new Error(formatStamp(issued))
            latest = issued
          }
        }),
        { numRuns: RUNS },
      )
    },
  )
})
