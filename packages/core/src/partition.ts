import { fnv1a } from './merkle/digest.ts'

/** Number of partitions that divide the keys of a deployment. */
export const PARTITION_COUNT = 271

/** The partition of a key: FNV-1a-32 of the key modulo 271. */
export function partitionOf(key: string): number {
  return fnv1a(key) % PARTITION_COUNT
}
