import { compareStamps } from '@syncline/core'
import { expect, test } from 'vitest'
import { liveScene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { SessionClock } from './clock.ts'

function clockOf(world: World, reserve: (untilMs: number) => void = () => {}): SessionClock {
  return new SessionClock(new Tab(world, 'tab').env(), 'early', reserve)
}

test('stamps start above the reserved mark, whatever the wall clock says, and reserve the next one', () => {
  const world = new World()
  const marks: number[] = []
  const clock = clockOf(world, (untilMs) => marks.push(untilMs))
  clock.start('node', world.nowMs + 4_000)
  clock.opened()
  const first = clock.tick()
  expect(first).toEqual({ millis: world.nowMs + 4_000, counter: 0, nodeId: 'node' })
  expect(marks).toEqual([world.nowMs + 5_000])
  expect(clock.isReserved(first)).toBe(false)
  clock.reserved(marks[0] as number)
  expect(clock.isReserved(first)).toBe(true)
})

test('reloads in quick succession do not push the stamps ahead of the wall clock', () => {
  const world = new World()
  let mark = 0
  for (let i = 0; i < 100; i++) {
    const clock = clockOf(world, (untilMs) => (mark = untilMs))
    clock.start('node', mark)
    clock.opened()
    expect(clock.tick().millis).toBeLessThanOrEqual(world.nowMs + 5_000 + i)
  }
})

test('what is stamped before the data is loaded reserves nothing: it is stamped again', () => {
  const world = new World()
  const marks: number[] = []
  const clock = clockOf(world, (untilMs) => marks.push(untilMs))
  clock.tick()
  expect(marks).toEqual([])
})

test('a restart begins above every stamp that the server may have taken, and below those that it cannot have', () => {
  const world = new World()
  const clock = clockOf(world)
  clock.start('node', 0)
  const stamp = (offsetMs: number): ReturnType<SessionClock['tick']> => ({
    millis: world.nowMs + offsetMs,
    counter: 7,
    nodeId: 'node',
  })
  clock.seen(stamp(9_000_000))
  clock.restart([stamp(60_000), stamp(60_001), stamp(9_000_000)])
  const next = clock.tick()
  expect(compareStamps(next, stamp(60_000))).toBeGreaterThan(0)
  expect(next.millis).toBe(world.nowMs + 60_000)
})

test('what is stamped without a session stays above the mark, which there is, until a session begins', () => {
  const world = new World()
  const marks: number[] = []
  const clock = clockOf(world, (untilMs) => {
    marks.push(untilMs)
    clock.reserved(untilMs)
  })
  clock.start('node', 0)
  const [first, second] = [clock.tick(), clock.tick()]
  expect(marks).toEqual([0])
  expect([clock.isReserved(first), clock.isReserved(second)]).toEqual([false, false])
  clock.opened()
  expect(marks).toEqual([0, world.nowMs + 5_000])
  expect([clock.isReserved(first), clock.isReserved(second)]).toEqual([true, true])
  clock.closed()
  world.nowMs += 60_000
  expect(clock.isReserved(clock.tick())).toBe(false)
  expect(marks).toHaveLength(2)
})

test('another tab’s stamps are none that the mark of this one speaks of', () => {
  const clock = clockOf(new World())
  clock.start('node', 0)
  clock.reserved(10)
  expect(clock.isReserved({ millis: 1, counter: 0, nodeId: 'gone' })).toBe(false)
})

test('a wall clock that is set while a PING is on its way does not put the correction wrong by half the jump', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const { client, say, sent, ops } = await liveScene([], {}, { world, tab })
  await world.advance(5_000)
  const [ping] = sent('PING')
  tab.skewMs = 7_200_000
  await world.advance(100)
  await say({ type: 'PONG', timestamp: ping!['timestamp'], serverTime: world.nowMs - 50 })
  client.map('todos').set('t1', 1)
  await world.settle()
  expect(Math.abs((ops()[0]?.record.timestamp.millis ?? 0) - world.nowMs)).toBeLessThan(200)
})

test('the PONG of an earlier PING says nothing about the clock, and what lies within half a round trip is no news', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const { client, say, sent, ops } = await liveScene([], {}, { world, tab })
  await world.advance(5_000)
  const [ping] = sent('PING')
  await world.advance(400)
  await say({ type: 'PONG', timestamp: ping!['timestamp'], serverTime: world.nowMs - 10 })
  await say({ type: 'PONG', timestamp: 1, serverTime: world.nowMs - 3_600_000 })
  client.map('todos').set('t1', 1)
  await world.settle()
  expect(ops()[0]?.record.timestamp.millis).toBe(world.nowMs)
})

test('a wall clock that is set between a refusal and the new stamps does not make refused stamps known ones', () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const env = tab.env()
  const clock = new SessionClock(env, 'early', () => {})
  clock.start('node', 0)
  tab.skewMs = 3_600_000
  const refused = clock.tick()
  clock.synchronize(env.monotonic(), world.nowMs)
  tab.skewMs = 7_200_000
  clock.restart([refused])
  clock.synchronize(env.monotonic(), world.nowMs)
  expect(clock.tick().millis).toBeLessThan(world.nowMs + 60_000)
})
