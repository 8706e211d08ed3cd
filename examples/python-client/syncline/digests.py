"""Hashes of keys, partitions, and the digests by which two replicas compare a map. Rules MK1 to MK5 and PT1."""

from __future__ import annotations

import struct
from typing import Dict, Iterable, List, Tuple

from .records import Record
from .stamps import Stamp
from .values import canonical, canonical_text, utf16

PARTITIONS = 271
_U32 = 0xFFFFFFFF

Lanes = Tuple[int, int]


def hash_of_key(key: str) -> int:
    """FNV-1a with 32 bits over the code units of a text (MK1)."""
    h = 2166136261
    units = utf16(key)
    for at in range(0, len(units), 2):
        h = ((h ^ (units[at] << 8 | units[at + 1])) * 16777619) & _U32
    return h


def path_of_key(key: str) -> str:
    """The place of a key in the trie: 8 hexadecimal digits."""
    return f"{hash_of_key(key):08x}"


def partition_of_key(key: str) -> int:
    """The partition of a key (PT1)."""
    return hash_of_key(key) % PARTITIONS


def fmix32(h: int) -> int:
    """The mixer of MK2."""
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & _U32
    h ^= h >> 13
    h = (h * 0xC2B2AE35) & _U32
    return h ^ (h >> 16)


def murmur3(data: bytes) -> int:
    """MurmurHash3, x86, 32 bits, seed 0."""
    h = 0
    whole = len(data) - len(data) % 4
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        h ^= _scrambled(k)
        h = (h << 13 | h >> 19) & _U32
        h = (h * 5 + 0xE6546B64) & _U32
    if whole < len(data):
        h ^= _scrambled(int.from_bytes(data[whole:], "little"))
    return fmix32(h ^ len(data))


def record_bytes(key: str, record: Record) -> bytes:
    """The canonical bytes of a record (MK4)."""
    is_map = isinstance(record.value, dict)
    out: List[bytes] = [canonical_text(key), canonical(record.value), _stamp_bytes(record.base)]
    out.append(struct.pack(">dI", -1 if record.ttl_ms is None else record.ttl_ms, len(record.fields)))
    for name in sorted(record.fields, key=utf16):
        write = record.fields[name]
        out.append(canonical_text(name) + _stamp_bytes(write.stamp))
        if write.unset:
            out.append(b"\0")
        else:
            out.append(b"\1" if is_map else b"\2" + canonical(write.value))
    return b"".join(out)


def digest_of_record(key: str, record: Record) -> Lanes:
    """Both lanes of a record (MK3, MK4)."""
    return hash_of_key(f"{key}:{record.timestamp.to_text()}"), murmur3(record_bytes(key, record))


class Trie:
    """The digests of a map, from those of its records (MK2, MK5)."""

    def __init__(self, records: Iterable[Tuple[str, Record]]) -> None:
        self._records = [(path_of_key(key), digest_of_record(key, record)) for key, record in records]

    def node(self, path: str) -> Lanes:
        """Both lanes of the node at a path; the root is ``''``."""
        if len(path) >= 3:
            return _sum(lanes for place, lanes in self._records if place.startswith(path))
        return _sum(self.children(path).values())

    def children(self, path: str) -> Dict[str, Lanes]:
        """Both lanes of the children of a node, those alone that hold something."""
        nodes = {digit: self.node(path + digit) for digit in "0123456789abcdef"}
        return {digit: lanes for digit, lanes in nodes.items() if lanes != (0, 0)}

    def digest(self) -> str:
        """The digest of the map as SYNC_DIFF has it."""
        # Leaf by leaf, so that a large map is gone through once and not once for each of 4,096 leaves.
        level: Dict[str, List[Lanes]] = {}
        for place, lanes in self._records:
            level.setdefault(place[:3], []).append(lanes)
        sums = {path: _sum(lanes) for path, lanes in level.items()}
        for _ in range(3):
            above: Dict[str, List[Lanes]] = {}
            for path, lanes in sums.items():
                above.setdefault(path[:-1], []).append(lanes)
            sums = {path: _sum(lanes) for path, lanes in above.items()}
        return text_of(sums.get("", (0, 0)))


def text_of(lanes: Lanes) -> str:
    """Both lanes as 16 hexadecimal digits."""
    return f"{lanes[0]:08x}{lanes[1]:08x}"


def _sum(children: Iterable[Lanes]) -> Lanes:
    first = second = 0
    for a, b in children:
        first, second = first + fmix32(a), second + fmix32(b)
    return first & _U32, second & _U32


def _scrambled(k: int) -> int:
    k = (k * 0xCC9E2D51) & _U32
    k = (k << 15 | k >> 17) & _U32
    return (k * 0x1B873593) & _U32


def _stamp_bytes(stamp: Stamp) -> bytes:
    return struct.pack(">dI", stamp.millis, stamp.counter) + canonical_text(stamp.node_id)
