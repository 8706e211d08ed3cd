"""A copy of one map: its base, which the server has confirmed, and the writes that wait over it (CR8 to CR13)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Deque, Dict, Iterable, List, Optional, Tuple

from . import records
from .digests import Trie
from .records import Record
from .stamps import Stamp
from .values import Value

Entry = Tuple[str, Record, int]
#: The stamp under which an op was sent, and whether it had been sent under it before.
Flight = Tuple[Stamp, bool]


@dataclass
class Op:
    """A write that the server has not confirmed."""

    id: str
    map_name: str
    key: str
    op_type: str
    value: Value
    stamp: Stamp
    unset: List[str] = field(default_factory=list)
    ttl_ms: Optional[float] = None
    fence: Optional[Dict[str, Any]] = None
    #: Whether the server had confirmed the key when it was written (RT5).
    known: bool = False
    #: Whether it was sent under its stamp, and what became of that is not known (RT5).
    sent: bool = False
    # What follows is of this connection, or of this process.
    flights: Deque[Flight] = field(default_factory=deque)
    acknowledged: Optional[int] = None
    attempts: int = 0
    retry_at: float = 0.0
    alone: bool = False

    def to_wire(self) -> Dict[str, Any]:
        """The op as it travels, the same whenever it is sent."""
        record: Dict[str, Any] = {"value": self.value, "timestamp": self.stamp.to_wire()}
        if self.unset:
            record["unset"] = self.unset
        if self.ttl_ms is not None:
            record["ttlMs"] = self.ttl_ms
        wire = {"id": self.id, "mapName": self.map_name, "key": self.key, "opType": self.op_type, "record": record}
        if self.fence is not None:
            wire["fence"] = self.fence
        return wire

    @staticmethod
    def from_wire(wire: Dict[str, Any], known: bool, sent: bool) -> "Op":
        """The op out of what was stored."""
        record = wire["record"]
        stamp = Stamp.from_wire(record["timestamp"])
        names = (wire["id"], wire["mapName"], wire["key"], wire["opType"])
        more = (record.get("unset", []), record.get("ttlMs"), wire.get("fence"), known, sent)
        return Op(*names, record["value"], stamp, *more)

    def over(self, record: Optional[Record]) -> Optional[Record]:
        """The record with this write merged into it."""
        if self.op_type == "PATCH":
            return records.patch(record, self.value or {}, self.unset, self.stamp)
        return records.put(record, self.value, self.stamp, self.ttl_ms)


class Replica:
    """The state of one map. It knows no connection and no disk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.base: Dict[str, Record] = {}
        self.seqs: Dict[str, int] = {}
        self.overlay: Dict[str, List[Op]] = {}
        self.cursor: Optional[str] = None
        self.seq = -1
        #: The last diff that came to its end had a digest: the base is the whole map.
        self.whole = False
        #: The base was forgotten, and the diff that fills it anew has not come to its end.
        self.was_reset = False
        # Of this connection:
        self.awaiting = False
        #: The diff has come to its end: the base is up to date, and is kept so by events.
        self.here = False
        self.restarted = False
        self.pushed = False
        self.refused: Optional[str] = None
        self.retry_at: Optional[float] = None

    def holds_back(self) -> bool:
        """Whether ops must wait: records may have to be pushed before them (CR11), or their keys may be gone (RT5)."""
        return self.refused is None and ((self.awaiting and self.cursor is not None) or self.was_reset)

    def record(self, key: str) -> Optional[Record]:
        """What an application sees of a key: the overlay merged over the base."""
        record = self.base.get(key)
        for op in self.overlay.get(key, ()):
            record = op.over(record)
        return record

    def keys(self) -> List[str]:
        """All keys that have a record or a write."""
        return list({**self.base, **self.overlay})

    def is_confirmed(self, key: str) -> bool:
        """Whether the server has confirmed that the key holds something."""
        record = self.base.get(key)
        return record is not None and not record.is_tombstone

    def merge(self, entries: Iterable[Entry]) -> None:
        """Merges what the server sent into the base."""
        for key, record, seq in entries:
            before = self.base.get(key)
            self.base[key] = record if before is None else records.merge(before, record)
            self.seqs[key] = seq

    def prune(self, through: int) -> List[str]:
        """Drops the tombstones that the server has forgotten (CR13)."""
        gone = [key for key, record in self.base.items() if record.is_tombstone and self.seqs[key] <= through]
        for key in gone:
            self.drop(key)
        return gone

    def drop(self, key: str) -> None:
        """Drops a record of the base."""
        self.base.pop(key, None)
        self.seqs.pop(key, None)

    def forget(self) -> None:
        """Forgets base and cursor, and keeps what is pending (CR10)."""
        self.base.clear()
        self.seqs.clear()
        self.cursor, self.seq, self.whole = None, -1, False

    def digest(self) -> str:
        """The digest of the base, to compare with the server's."""
        return Trie(self.base.items()).digest()

    def lost_entries(self, ranges: Iterable[Iterable[int]]) -> List[Dict[str, Any]]:
        """The records of the base that the server may have lost, as SYNC_PUSH has them."""
        within = [tuple(bounds) for bounds in ranges]
        return [
            {"key": key, "record": records.to_wire(self.base[key]), "seq": seq}
            for key, seq in self.seqs.items()
            if any(low < seq <= high for low, high in within)
        ]

    def add(self, op: Op) -> None:
        """Adds a write above all others."""
        self.overlay.setdefault(op.key, []).append(op)

    def remove(self, op: Op) -> None:
        """Takes a write out of the overlay."""
        left = [other for other in self.overlay.get(op.key, ()) if other is not op]
        if left:
            self.overlay[op.key] = left
        else:
            self.overlay.pop(op.key, None)

    def sort_key(self, key: str) -> None:
        """Brings the writes of a key into the order of their stamps, after they got new ones."""
        self.overlay[key].sort(key=lambda op: op.stamp.order)

    def new_connection(self) -> None:
        """Forgets what was of the last connection."""
        self.awaiting = self.here = self.restarted = self.pushed = False
        self.refused = self.retry_at = None

