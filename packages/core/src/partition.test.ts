import { expect, it } from 'vitest'
import { PARTITION_COUNT, partitionOf } from './partition.ts'

it.each([
  ['', 199],
  ['a', 101],
  ['hello', 95],
  ['u1', 172],
  ['user:1', 208],
  ['t1', 150],
  ['t2', 141],
  ['ключ', 108],
  ['😀', 102],
])('[PT1] the partition of %j is %i', (key, partition) => {
  expect(partitionOf(key)).toBe(partition)
  expect(partition).toBeLessThan(PARTITION_COUNT)
})
