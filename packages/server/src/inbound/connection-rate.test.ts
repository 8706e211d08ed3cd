import { describe, expect, test } from 'vitest'
import type { Session } from '../sessions/session.ts'
import { Limits } from '../telemetry/limits.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { StillEnv } from '../testing/harness.ts'
import { ConnectionRate, networkOf } from './connection-rate.ts'

const make = (maxConnectionsPerSecond: number, maxPendingConnections: number) => {
  const env = new StillEnv()
  const limits = new Limits(new Metrics())
  const rate = new ConnectionRate(env, { enabled: true, maxConnectionsPerSecond, maxPendingConnections }, 1e9, limits)
  const closed: string[] = []
  /** Asks for a connection that says nothing. */
  const open = (remoteAddress: string): Session | undefined => {
    if (!rate.admit(0, remoteAddress)) return undefined
    const session = {
      remoteAddress,
      close: () => {
        closed.push(remoteAddress)
        rate.settled(session)
      },
    } as unknown as Session
    rate.opened(session)
    return session
  }
  return { env, rate, open, closed }
}

describe('the rate of connections', () => {
  test('INV-23: one address may use it up while no other is kept waiting', () => {
    const { open } = make(100, 1e9)
    const admitted = Array.from({ length: 150 }, () => open('1.1.1.1')).filter((each) => each !== undefined)
    expect(admitted).toHaveLength(100)
  })

  test('INV-23: one that hammers leaves another its share, however seldom that asks', () => {
    const { env, open } = make(100, 1e9)
    let refusedInARow = 0
    let [worst, admitted, greedy] = [0, 0, 0]
    // A minute: one address tries 500 times a second, the other every 1.7 seconds.
    for (let at = 0; at < 60_000; at += 20) {
      for (let i = 0; i < 10; i++) if (open('6.6.6.6') !== undefined) greedy++
      if (at % 1_700 === 0) {
        if (open('1.1.1.1') === undefined) worst = Math.max(worst, ++refusedInARow)
        else [refusedInARow, admitted] = [0, admitted + 1]
      }
      env.leap(20)
    }
    expect(worst).toBeLessThanOrEqual(1)
    expect(admitted).toBeGreaterThan(15)
    expect(greedy).toBeGreaterThan(30 * 60)
    expect(greedy).toBeLessThanOrEqual(101 * 60)
  })

  test('INV-23: never more than the limit in a second, however many addresses come', () => {
    const { env, open } = make(50, 1e9)
    for (let second = 0; second < 5; second++) {
      let admitted = 0
      for (let i = 0; i < 5_000; i++) if (open(`10.${second}.${i >> 8}.${i & 255}`) !== undefined) admitted++
      expect(admitted).toBeLessThanOrEqual(50)
      env.leap(1_000)
    }
  })

  test('INV-22: addresses are remembered in a bounded number, and those beyond it can come all the same', () => {
    const { env, open, rate } = make(1, 1e9)
    for (let i = 0; i < 30_000; i++) open(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    expect(rate.inspect().addresses).toBeLessThanOrEqual(10_001)
    env.leap(2_000)
    expect(open('99.99.99.99')).toBeDefined()
    // A minute later nobody is thought to wait any more.
    for (let i = 0; i < 70; i++) {
      env.leap(1_000)
      open('1.1.1.1')
    }
    expect(rate.inspect().addresses).toBeLessThan(5)
  })
})

describe('connections that are not authenticated', () => {
  test('INV-22: an address that has most of the places gives one up to another, its oldest first', () => {
    const { open, closed, rate } = make(1e9, 10)
    const first = open('6.6.6.6')
    for (let i = 0; i < 9; i++) open('6.6.6.6')
    expect(open('6.6.6.6')).toBeUndefined()
    for (let i = 0; i < 5; i++) expect(open(`1.1.1.${i}`)).toBeDefined()
    expect(closed).toEqual(Array.from({ length: 5 }, () => '6.6.6.6'))
    rate.settled(first as Session)
    expect(rate.inspect().pending).toBe(10)
    // With as many as everyone else it keeps what it has.
    for (let i = 5; i < 9; i++) expect(open(`1.1.1.${i}`)).toBeDefined()
    expect(open('1.1.1.9')).toBeUndefined()
    expect(closed).toHaveLength(9)
  })

  test('INV-22: those that end, sign in or do not come to be make room', () => {
    const { open, rate } = make(1e9, 1)
    for (let i = 0; i < 5; i++) {
      const session = open('1.1.1.1') as Session
      expect(open('1.1.1.1')).toBeUndefined()
      rate.settled(session)
      rate.settled(session)
      expect(rate.admit(0, '1.1.1.1')).toBe(true)
      rate.aborted('1.1.1.1')
    }
    expect(rate.inspect().pending).toBe(0)
  })
})

test.each([
  ['1.2.3.4', '1.2.3.4'],
  ['::ffff:1.2.3.4', '1.2.3.4'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:DB8::1', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
  ['fe80::1:2%eth0', 'fe80:0:0:0'],
  ['2001:db8:1:2::', '2001:db8:1:2'],
  ['', ''],
])('the address %s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network)
})
