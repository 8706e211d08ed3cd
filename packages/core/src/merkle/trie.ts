import { assert } from '../assert.ts'
import { fmix32, formatDigest } from './digest.ts'

/** Hexadecimal digits of a key's hash that make its path in the trie. */
export const TRIE_DEPTH = 3

const RADIX = 16
const LEAVES = 4_096
/** Where the second lane, and the numbers of records, begin among the sums of a parent of leaves. */
const STATE = RADIX
const RECORDS = 2 * RADIX

/** Both lanes of one node's digest, as unsigned 32-bit numbers. */
export interface NodeDigest {
  readonly stamps: number
  readonly state: number
}

/**
 * A prefix trie over the hashes of keys, of fixed depth 3 and radix 16. It holds sums, not records: a record's change
 * is told by its digests before and after. A node's lane is the wrapping sum of `fmix32` of its children's lanes,
 * a leaf's that of its records' (SPEC [MK1] to [MK3]).
 */
export class MerkleTrie {
  /** The parents of leaves, 16 leaves each, where there are records. Most maps are small. */
  readonly #parents: (Uint32Array | undefined)[] = Array.from({ length: LEAVES / RADIX })
  /** Sums up all leaves: it is kept until something changes. */
  #root: NodeDigest | undefined

  /** Adds a record by the digests of its two lanes. */
  add(keyHash: number, stamps: number, state: number): void {
    this.#root = undefined
    const at = keyHash >>> 24
    const lanes = (this.#parents[at] ??= new Uint32Array(3 * RADIX))
    const leaf = (keyHash >>> 20) & 15
    lanes[leaf] = (lanes[leaf] as number) + fmix32(stamps)
    lanes[STATE + leaf] = (lanes[STATE + leaf] as number) + fmix32(state)
    lanes[RECORDS + leaf] = (lanes[RECORDS + leaf] as number) + 1
  }

  /** Takes out a record that was added with the same digests. */
  remove(keyHash: number, stamps: number, state: number): void {
    this.#root = undefined
    const lanes = this.#parents[keyHash >>> 24] as Uint32Array
    const leaf = (keyHash >>> 20) & 15
    lanes[leaf] = (lanes[leaf] as number) - fmix32(stamps)
    lanes[STATE + leaf] = (lanes[STATE + leaf] as number) - fmix32(state)
    lanes[RECORDS + leaf] = (lanes[RECORDS + leaf] as number) - 1
  }

  /** The digest of the node at a path of 0 to 3 hexadecimal digits. */
  node(path: string): NodeDigest {
    return this.#node(...leavesUnder(path))
  }

  /** The digests of a node's children by hexadecimal digit, those without records left out. */
  children(path: string): Record<string, NodeDigest> {
    const [from, width] = leavesUnder(path)
    const children: Record<string, NodeDigest> = {}
    const childWidth = width / RADIX
    for (let digit = 0; digit < RADIX && childWidth >= 1; digit++) {
      const start = from + digit * childWidth
      if (!this.#isEmpty(start, childWidth)) children[digit.toString(16)] = this.#node(start, childWidth)
    }
    return children
  }

  /** Both lanes of all 4,096 leaves in path order, each lane as an unsigned 32-bit big-endian number. */
  leaves(): Uint8Array {
    const bytes = new Uint8Array(LEAVES * 8)
    const view = new DataView(bytes.buffer)
    for (let leaf = 0; leaf < LEAVES; leaf++) {
      const lanes = this.#parents[leaf >>> 4]
      if (lanes === undefined) continue
      view.setUint32(leaf * 8, lanes[leaf & 15] as number)
      view.setUint32(leaf * 8 + 4, lanes[STATE + (leaf & 15)] as number)
    }
    return bytes
  }

  /** The root's lane 0, which existing clients know as the root hash. */
  rootHash(): number {
    return (this.#root ??= this.node('')).stamps
  }

  /** Both lanes of the root as 16 hexadecimal digits. */
  digest(): string {
    const { stamps, state } = (this.#root ??= this.node(''))
    return formatDigest(stamps, state)
  }

  #node(from: number, width: number): NodeDigest {
    return { stamps: sum(this.#parents, 0, from, width), state: sum(this.#parents, STATE, from, width) }
  }

  #isEmpty(from: number, width: number): boolean {
    for (let leaf = from; leaf < from + width; leaf++)
      if ((this.#parents[leaf >>> 4]?.[RECORDS + (leaf & 15)] ?? 0) !== 0) return false
    return true
  }
}

/** One record as a trie sees it. */
export interface TrieEntry extends NodeDigest {
  /** FNV-1a of the record's key. */
  readonly keyHash: number
}

/**
 * The digests of the children of a leaf or of a node below one (a path of 3 to 7 digits), which a trie does not hold,
 * from the records under it: a child's lane is the sum of `fmix32` of its records' lanes (SPEC [MK5]).
 */
export function childrenBelowLeaf(path: string, entries: Iterable<TrieEntry>): Record<string, NodeDigest> {
  const children: Record<string, { stamps: number; state: number }> = {}
  for (const { keyHash, stamps, state } of entries) {
    if (!isUnderPath(keyHash, path)) continue
    const digit = ((keyHash >>> (28 - 4 * path.length)) & 15).toString(16)
    const child = (children[digit] ??= { stamps: 0, state: 0 })
    child.stamps = (child.stamps + fmix32(stamps)) >>> 0
    child.state = (child.state + fmix32(state)) >>> 0
  }
  return children
}

/** Says whether a text is a path in the trie: up to 8 hexadecimal digits of a key's hash. */
export function isTriePath(path: string): boolean {
  return /^[0-9a-f]{0,8}$/.test(path)
}

/** Says whether a key with this hash lies under a path of up to 8 hexadecimal digits. */
export function isUnderPath(keyHash: number, path: string): boolean {
  return path === '' || keyHash >>> (32 - 4 * path.length) === Number.parseInt(path, 16)
}

function leavesUnder(path: string): [from: number, width: number] {
  assert(path.length <= TRIE_DEPTH, 'a trie has no nodes below its leaves')
  const width = RADIX ** (TRIE_DEPTH - path.length)
  return [path === '' ? 0 : Number.parseInt(path, 16) * width, width]
}

/** A lane of the node above some leaves. */
function sum(parents: readonly (Uint32Array | undefined)[], lane: number, from: number, width: number): number {
  if (width > RADIX) {
    let total = 0
    const childWidth = width / RADIX
    for (let digit = 0; digit < RADIX; digit++)
      total = (total + fmix32(sum(parents, lane, from + digit * childWidth, childWidth))) | 0
    return total >>> 0
  }
  const lanes = parents[from >>> 4]
  if (lanes === undefined) return 0
  return width === 1 ? (lanes[lane + (from & 15)] as number) : sumOfLeaves(lanes, lane)
}

function sumOfLeaves(lanes: Uint32Array, lane: number): number {
  let total = 0
  for (let leaf = lane; leaf < lane + RADIX; leaf++) total = (total + fmix32(lanes[leaf] as number)) | 0
  return total >>> 0
}
