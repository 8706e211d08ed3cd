import { clockOffset, compareStamps, isAheadOfClock, parseStamp, type Stamp } from '@syncline/core'
import { at, type ClockSequence } from '../compute.ts'

const texts: readonly (readonly [name: string, text: string])[] = [
  ['a stamp', '1706000000000:1:client-1'],
  ['the first stamp', '0:0:'],
  ['the largest numbers', '9007199254740991:65535:n'],
  ['a node id beyond ASCII', '5:0:узел'],
  ['a node id with spaces and signs', '5:0: a-b_c.d/e'],
  ['a leading zero', '01:0:n'],
  ['a leading zero of the counter', '1:00:n'],
  ['a sign', '+1:0:n'],
  ['a negative number', '-1:0:n'],
  ['a fraction', '1.5:0:n'],
  ['an exponent', '1e3:0:n'],
  ['millis of 2^53', '9007199254740992:0:n'],
  ['a counter of 65,536', '1:65536:n'],
  ['two parts', '1:0'],
  ['four parts', '1:0:a:b'],
  ['a space before', ' 1:0:n'],
  ['nothing', ''],
  ['a node id of 128 units', `1:0:${'n'.repeat(128)}`],
  ['a node id of 129 units', `1:0:${'n'.repeat(129)}`],
]

/** Stamps as text; null where the text is none. */
export const stampTexts = texts.map(([name, text]) => ({ name, rules: 'HC1', text, stamp: parseStamp(text) ?? null }))

/** Lists of stamps in ascending order. */
export const stampsInOrder = [
  {
    name: 'millis, counter, node id',
    rules: 'HC2',
    ascending: [at(0), at(1, 0, 'b'), at(1, 1, 'a'), at(2, 0, 'a'), at(2, 0, 'b'), at(10, 0, 'a')],
  },
  {
    name: 'node ids by UTF-16 code unit, not by language',
    rules: 'HC2',
    ascending: ['', 'B', 'a', 'a0', 'node-10', 'node-9', 'ü', 'я', '😀', '\uff5e'].map((id) => at(1, 0, id)),
  },
].map((list) => {
  const sorted: readonly Stamp[] = list.ascending.toSorted(compareStamps)
  if (JSON.stringify(sorted) !== JSON.stringify(list.ascending)) throw new Error(`${list.name} is out of order.`)
  return list
})

const tick = (wall: number) => ({ wall })
const observe = (wall: number, millis: number, counter: number) => ({ wall, observe: { millis, counter } })

/** What a clock does. */
export const clocks: readonly ClockSequence[] = [
  {
    name: 'within one millisecond',
    rules: 'HC3',
    latest: null,
    steps: [tick(1000), tick(1000), tick(1000), tick(1001)],
  },
  {
    name: 'a wall clock that goes back',
    rules: 'HC3 HC5',
    latest: null,
    steps: [tick(1000), tick(900), tick(0), tick(1001)],
  },
  { name: 'a wall clock that stands at zero', rules: 'HC3', latest: null, steps: [tick(0), tick(0)] },
  {
    name: 'a full counter',
    rules: 'HC3',
    latest: { millis: 1000, counter: 65_534 },
    steps: [tick(1000), tick(1000), tick(1000)],
  },
  {
    name: 'a start above an earlier stamp',
    rules: 'HC5',
    latest: { millis: 5000, counter: 3 },
    steps: [tick(1000), tick(5000), tick(5001)],
  },
  {
    name: 'stamps of other nodes',
    rules: 'HC4 HC5',
    latest: null,
    steps: [
      tick(1000),
      tick(1000),
      observe(1000, 1000, 7),
      tick(1000),
      observe(1000, 900, 50),
      observe(1000, 2000, 3),
      tick(1000),
    ],
  },
  {
    name: 'a wall clock ahead of everything',
    rules: 'HC4',
    latest: { millis: 1000, counter: 9 },
    steps: [observe(5000, 2000, 3), tick(5000)],
  },
  { name: 'an equal stamp', rules: 'HC4', latest: { millis: 7, counter: 2 }, steps: [observe(1, 7, 2), tick(1)] },
  {
    name: 'a stamp with a full counter',
    rules: 'HC4',
    latest: { millis: 7, counter: 2 },
    steps: [observe(1, 7, 65_535), tick(1)],
  },
  {
    name: 'a wall clock equal to the stamp',
    rules: 'HC4',
    latest: { millis: 7, counter: 2 },
    steps: [observe(9, 9, 4), tick(9)],
  },
  { name: 'an older stamp', rules: 'HC4', latest: { millis: 7, counter: 2 }, steps: [observe(1, 3, 60_000), tick(1)] },
  {
    name: 'a greater counter of the same millisecond',
    rules: 'HC4',
    latest: { millis: 7, counter: 2 },
    steps: [observe(7, 7, 40), tick(7)],
  },
  {
    name: 'a smaller counter of the same millisecond',
    rules: 'HC4',
    latest: { millis: 7, counter: 40 },
    steps: [observe(7, 7, 2), tick(7)],
  },
  {
    name: 'a wall clock equal to the latest stamp, and a later stamp',
    rules: 'HC4',
    latest: { millis: 9, counter: 5 },
    steps: [observe(9, 12, 0), tick(9), tick(12), tick(13)],
  },
  {
    name: 'a full counter of its own, and an equal stamp',
    rules: 'HC4',
    latest: { millis: 7, counter: 65_535 },
    steps: [observe(7, 7, 65_535), tick(7), tick(8), tick(9)],
  },
  {
    name: 'a full counter over several milliseconds',
    rules: 'HC3 HC5',
    latest: { millis: 7, counter: 65_535 },
    steps: [tick(7), tick(7), tick(8), tick(9)],
  },
  {
    name: 'the first thing is a stamp of another node',
    rules: 'HC4',
    latest: null,
    steps: [observe(0, 0, 0), tick(0)],
  },
  {
    name: 'a wall clock that goes back below stamps of other nodes',
    rules: 'HC4 HC5',
    latest: null,
    steps: [tick(5_000), observe(4_000, 4_500, 9), tick(3_000), observe(3_000, 6_000, 1), tick(5_900), tick(6_001)],
  },
  {
    name: 'a stamp whose counter is not whole',
    rules: 'HC4',
    latest: { millis: 7, counter: 2 },
    steps: [observe(1, 9, 0.5), tick(1)],
  },
  {
    name: 'a stamp whose millis are not whole',
    rules: 'HC4',
    latest: { millis: 7, counter: 2 },
    steps: [observe(1, 8.5, 0), tick(1)],
  },
]

/** Stamps that lie ahead of a wall clock, or not, with the drift that is allowed. */
export const drift = [
  [1_000_000, 1_000_000, 60_000],
  [1_060_000, 1_000_000, 60_000],
  [1_060_001, 1_000_000, 60_000],
  [0, 1_000_000, 60_000],
  [1_000_001, 1_000_000, 0],
  [1_000_000, 1_000_000, 0],
  [1_059_999, 1_000_000, 60_000],
  [9_007_199_254_740_991, 1_706_000_000_000, 60_000],
].map(([millis = 0, wall = 0, maxDriftMs = 0]) => ({
  rules: 'HC6',
  millis,
  wall,
  maxDriftMs,
  isAhead: isAheadOfClock(at(millis), wall, maxDriftMs),
}))

/** What a client makes of one exchange with its server. */
export const offsets = [
  [1_000, 1_100, 5_050],
  [1_000, 1_100, 1_050],
  [1_000, 1_101, 1_050],
  [5_000, 5_000, 4_000],
  [1_000, 1_003, 1_000],
  [1_000, 9_000, 5_000],
  [1_706_000_000_000, 1_706_000_000_250, 1_706_003_600_125],
].map(([sentAt = 0, answeredAt = 0, serverTime = 0]) => ({
  rules: 'HC7',
  sentAt,
  answeredAt,
  serverTime,
  offset: clockOffset(sentAt, answeredAt, serverTime),
}))
