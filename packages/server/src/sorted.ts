/** Where something stands, or would stand, among others in order. */
export function placeOf<T>(sorted: readonly T[], compare: (a: T, b: T) => number, item: T): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compare(sorted[middle] as T, item) < 0) low = middle + 1
    else high = middle
  }
  return low
}
