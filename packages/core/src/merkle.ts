// Digests and the bytes that they are made of, in an entry of their own, because clients load it only when they compare a
// map: some bundlers split code by files, and take whatever a used file re-exports as used with it.
export { canonicalRecord, fmix32, fnv1a, formatDigest, murmur3, stampDigest, stateDigest } from './merkle/digest.ts'
export { itemsDigest } from './merkle/item-digest.ts'
export {
  MerkleTrie,
  TRIE_DEPTH,
  childrenBelowLeaf,
  isTriePath,
  isUnderPath,
  type NodeDigest,
  type TrieEntry,
} from './merkle/trie.ts'
export { CanonicalWriter, canonicalBytes } from './value/canonical.ts'
