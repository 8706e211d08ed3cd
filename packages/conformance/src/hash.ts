// Digests as the rules say them, written apart from any server and client, so that these are compared with something.

type Stamp = { readonly millis: number; readonly counter: number; readonly nodeId: string }
type FieldState = { readonly stamp: Stamp; readonly unset?: true; readonly value?: unknown }

/** A record as it travels. */
export interface WireRecord {
  readonly value: unknown
  readonly timestamp: Stamp
  readonly base?: Stamp
  readonly ttlMs?: number
  readonly fields?: Readonly<Record<string, FieldState>>
}

/** Both digests of a record. */
export interface Lanes {
  readonly stamps: number
  readonly state: number
}

/** [MK1] FNV-1a over code units. */
export function fnv1a(text: string): number {
  let hash = 2_166_136_261
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619) >>> 0
  return hash
}

/** [MK2] The finalizer of MurmurHash3. */
export function fmix32(input: number): number {
  let h = input
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** [MK4] MurmurHash3, x86, 32 bits, seed 0. */
export function murmur3(bytes: Buffer): number {
  const mix = (word: number): number => {
    const k = Math.imul(word, 0xcc9e2d51)
    return Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  }
  let hash = 0
  let at = 0
  for (; at + 4 <= bytes.length; at += 4) {
    hash ^= mix(bytes.readInt32LE(at))
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  const rest = bytes.length - at
  if (rest > 0) hash ^= mix(bytes.readUIntLE(at, rest))
  return fmix32(hash ^ bytes.length)
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const double = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes
}
const text = (value: string): Buffer => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)])
const stampBytes = ({ millis, counter, nodeId }: Stamp): Buffer =>
  Buffer.concat([double(millis), u32(counter), text(nodeId)])
const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : 1)

/** [CV2] The canonical bytes of a value. */
export function canonicalBytes(value: unknown): Buffer {
  if (value === null) return Buffer.of(0)
  if (typeof value === 'boolean') return Buffer.of(value ? 2 : 1)
  if (typeof value === 'number') return Buffer.concat([Buffer.of(3), double(value)])
  if (typeof value === 'string') return Buffer.concat([Buffer.of(4), text(value)])
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.of(5), u32(value.length), value])
  if (Array.isArray(value)) return Buffer.concat([Buffer.of(6), u32(value.length), ...value.map(canonicalBytes)])
  const names = Object.keys(value as object).toSorted(byCodeUnit)
  const fields = names.flatMap((name) => [text(name), canonicalBytes((value as Record<string, unknown>)[name])])
  return Buffer.concat([Buffer.of(7), u32(names.length), ...fields])
}

/** [MK3] [MK4] Both lanes of a record in normal form. */
export function lanesOf(key: string, record: WireRecord): Lanes {
  const { value, timestamp, base = timestamp, ttlMs = -1, fields = {} } = record
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  const names = Object.keys(fields).toSorted(byCodeUnit)
  const state = Buffer.concat([
    text(key),
    canonicalBytes(value),
    stampBytes(base),
    double(ttlMs),
    u32(names.length),
    ...names.flatMap((name) => {
      const { stamp, unset, value: hidden } = fields[name] as FieldState
      const tail =
        unset === true ? Buffer.of(0) : isMap ? Buffer.of(1) : Buffer.concat([Buffer.of(2), canonicalBytes(hidden)])
      return [text(name), stampBytes(stamp), tail]
    }),
  ])
  const { millis, counter, nodeId } = timestamp
  return { stamps: fnv1a(`${key}:${millis}:${counter}:${nodeId}`), state: murmur3(state) }
}

/** [MK2] The sums of a node: of the fmix32 of what lies under it, in each lane. */
export function sumOf(children: readonly Lanes[]): Lanes {
  const sum = (lane: keyof Lanes): number => children.reduce((total, each) => (total + fmix32(each[lane])) >>> 0, 0)
  return { stamps: sum('stamps'), state: sum('state') }
}

/** [MK2] Both lanes of the node at a path, of a map with these records. */
export function nodeOf(path: string, records: ReadonlyMap<string, WireRecord>): Lanes {
  const entries = [...records].map(([key, record]) => ({
    path: fnv1a(key).toString(16).padStart(8, '0'),
    lanes: lanesOf(key, record),
  }))
  return node(
    path,
    entries.filter((entry) => entry.path.startsWith(path)),
  )
}

function node(path: string, entries: readonly { readonly path: string; readonly lanes: Lanes }[]): Lanes {
  if (path.length >= 3) return sumOf(entries.map(({ lanes }) => lanes))
  const digits = [...new Set(entries.map((entry) => entry.path.slice(0, path.length + 1)))]
  return sumOf(
    digits.map((child) =>
      node(
        child,
        entries.filter((entry) => entry.path.startsWith(child)),
      ),
    ),
  )
}

/** [MK5] Both lanes as text. */
export function formatDigest({ stamps, state }: Lanes): string {
  return `${stamps.toString(16).padStart(8, '0')}${state.toString(16).padStart(8, '0')}`
}
