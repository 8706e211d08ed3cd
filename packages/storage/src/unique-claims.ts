/** A claim or release as both adapters see it: `name` stands for map, field and value. */
export interface NamedClaim {
  readonly name: string
  readonly key: string
  readonly release: boolean
}

/** What a batch's claims come to: the first that fails, or the new holder of each value whose holder changes. */
export type ClaimOutcome =
  | { readonly ok: false; readonly index: number; readonly holder: string }
  | { readonly ok: true; readonly changes: readonly ClaimChange[] }

/** The claim at `index` changed who holds its value: `holder` does, or nobody. */
export interface ClaimChange {
  readonly index: number
  readonly holder: string | undefined
}

/** Works a batch's claims out, releases first, without changing anything. `holderOf` tells who holds a value before. */
export function settleClaims(
  claims: readonly NamedClaim[],
  holderOf: (index: number) => string | undefined,
): ClaimOutcome {
  const holders = new Map<string, string | undefined>()
  const changes: ClaimChange[] = []
  const current = (index: number, name: string): string | undefined =>
    holders.has(name) ? holders.get(name) : holderOf(index)
  const change = (index: number, name: string, holder: string | undefined): void => {
    holders.set(name, holder)
    changes.push({ index, holder })
  }
  for (const [index, { name, key, release }] of claims.entries()) {
    if (release && current(index, name) === key) change(index, name, undefined)
  }
  for (const [index, { name, key, release }] of claims.entries()) {
    if (release) continue
    const holder = current(index, name)
    if (holder === undefined) change(index, name, key)
    else if (holder !== key) return { ok: false, index, holder }
  }
  return { ok: true, changes }
}
