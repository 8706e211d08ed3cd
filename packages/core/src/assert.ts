/** Throws if something that the code relies on does not hold. Never for input: input gets an error of its own. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`Broken assumption: ${message}`)
}

/** Ends an exhaustive switch: the compiler shows a case that was left out. */
export function unreachable(value: never): never {
  throw new Error(`Broken assumption: no case for ${String(value)}`)
}
