import { describe, expect, it } from 'vitest'
import { ZERO_STAMP, type Stamp } from '../clock/hlc.ts'
import { LwwMap } from './lww-map.ts'

const at = (millis: number): Stamp => ({ millis, counter: 0, nodeId: 'n' })

describe('a map of records', () => {
  it('[LW2] [LW11] reads what was put, and nothing where a key was removed, has expired or never was', () => {
    const map = new LwwMap()
    map.put('a', { x: 1 }, at(1))
    map.put('b', 'short', at(1), 5)
    map.put('c', 1, at(1))
    map.remove('c', at(2))
    map.put('d', null, at(1), 5)
    expect(['a', 'b', 'c', 'd', 'e'].map((key) => map.get(key, 6))).toEqual([
      { x: 1 },
      'short',
      undefined,
      undefined,
      undefined,
    ])
    expect(map.get('b', 7)).toBeUndefined()
    expect(map.record('c')).toEqual({ value: null, timestamp: at(2), base: at(2) })
    expect(map.record('d')).toEqual({ value: null, timestamp: at(1), base: at(1) })
    expect(map.recordCount).toBe(4)
    expect([...map.records()].map(([key]) => key)).toEqual(['a', 'b', 'c', 'd'])
  })

  it('[LW4] says what a write changed and what was there before', () => {
    const map = new LwwMap()
    const first = map.put('a', 1, at(2))
    expect(first).toMatchObject({ previous: undefined, changed: true })
    expect(map.put('a', 0, at(1))).toEqual({ record: first.record, previous: first.record, changed: false })
    expect(map.put('a', 2, at(3))).toMatchObject({ previous: first.record, changed: true, record: { value: 2 } })
    expect(map.merge('a', { value: 9, base: at(1), timestamp: at(9) })).toMatchObject({
      changed: true,
      record: { value: 2, timestamp: at(9) },
    })
  })

  it('[LW3] changes fields of a key that has a record, even a removed one, and of no other', () => {
    const map = new LwwMap()
    expect(map.patch('a', { stamp: at(1), set: { x: 1 } })).toBeUndefined()
    expect(map.recordCount).toBe(0)
    map.put('a', { x: 1, y: 1 }, at(1))
    expect(map.patch('a', { stamp: at(2), set: { x: 2 } })).toMatchObject({ changed: true })
    expect(map.patch('a', { stamp: at(2), set: { x: 2 } })).toMatchObject({ changed: false })
    expect(map.get('a', 0)).toEqual({ x: 2, y: 1 })
    map.remove('a', at(3))
    map.patch('a', { stamp: at(4), set: { x: 3 } })
    expect(map.get('a', 0)).toBeUndefined()
  })

  it('forgets only tombstones whose latest stamp is strictly older than asked', () => {
    const map = new LwwMap()
    map.put('live', 1, at(1))
    map.remove('old', at(4))
    map.remove('edge', at(5))
    map.remove('patched', at(1))
    map.patch('patched', { stamp: at(9), set: { x: 1 } })
    expect(map.prune(at(5))).toBe(1)
    expect([...map.records()].map(([key]) => key)).toEqual(['live', 'edge', 'patched'])
  })

  it('[LW9] knows its latest timestamp', () => {
    const map = new LwwMap()
    expect(map.latest()).toBe(ZERO_STAMP)
    map.put('a', 1, at(3))
    map.remove('b', at(7))
    map.put('c', 1, at(5))
    expect(map.latest()).toEqual(at(7))
  })
})
