"""Records that merge field by field. Rules LW1 to LW12 of the core specification; SY8 is the form on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Optional

from .stamps import Stamp, latest_of
from .values import SynclineError, Value, canonical


@dataclass(frozen=True)
class FieldWrite:
    """A write of one field that is later than the whole write."""

    stamp: Stamp
    unset: bool = False
    value: Value = None


@dataclass(frozen=True)
class Record:
    """The state of a key, in normal form. ``fields`` has all values; ``value`` is what readers see."""

    value: Value
    base: Stamp
    timestamp: Stamp
    ttl_ms: Optional[float] = None
    fields: Dict[str, FieldWrite] = field(default_factory=dict)

    @property
    def is_tombstone(self) -> bool:
        """Whether the key was removed."""
        return self.value is None

    def is_expired(self, now: float) -> bool:
        """Whether its time to live has passed."""
        return self.ttl_ms is not None and self.base.millis + self.ttl_ms < now

    def is_visible(self, now: float) -> bool:
        """Whether a reader sees a value (LW11)."""
        return not self.is_tombstone and not self.is_expired(now)


def from_wire(wire: Any) -> Record:
    """A record out of a message, in normal form (LW10). VALIDATION_ERROR where it is no record."""
    if not isinstance(wire, dict) or "value" not in wire:
        raise SynclineError("VALIDATION_ERROR", "A record has a value and a timestamp.")
    timestamp = Stamp.from_wire(wire.get("timestamp"))
    base = Stamp.from_wire(wire["base"]) if wire.get("base") is not None else timestamp
    value = wire["value"]
    shown = value if isinstance(value, dict) else None
    fields: Dict[str, FieldWrite] = {}
    for name, entry in (wire.get("fields") or {}).items():
        stamp = Stamp.from_wire(entry.get("stamp"))
        if stamp.order <= base.order:
            continue
        if not entry.get("unset") and shown is not None and name in shown:
            fields[name] = FieldWrite(stamp, value=shown[name])
        elif not entry.get("unset") and "value" in entry:
            fields[name] = FieldWrite(stamp, value=entry["value"])
        else:
            fields[name] = FieldWrite(stamp, unset=True)
    return _record(value, base, timestamp, wire.get("ttlMs"), fields)


def to_wire(record: Record) -> Dict[str, Any]:
    """The record as it travels (SY8)."""
    wire: Dict[str, Any] = {"value": record.value, "timestamp": record.timestamp.to_wire()}
    if record.base != record.timestamp:
        wire["base"] = record.base.to_wire()
    if record.ttl_ms is not None:
        wire["ttlMs"] = record.ttl_ms
    if record.fields:
        wire["fields"] = {
            name: _field_to_wire(write, isinstance(record.value, dict)) for name, write in record.fields.items()
        }
    return wire


def put(record: Optional[Record], value: Value, stamp: Stamp, ttl_ms: Optional[float] = None) -> Record:
    """A whole write (LW2); of null it removes."""
    written = Record(value, stamp, stamp, None if value is None else ttl_ms)
    return written if record is None else merge(record, written)


def patch(
    record: Optional[Record], fields: Dict[str, Value], unset: Iterable[str], stamp: Stamp
) -> Optional[Record]:
    """Writes of some fields under one stamp (LW3). A key without a record stays without one."""
    if record is None:
        return None
    writes = {name: FieldWrite(stamp, value=value) for name, value in fields.items()}
    writes.update((name, FieldWrite(stamp, unset=True)) for name in unset)
    merged = dict(record.fields)
    changed = False
    for name, write in writes.items():
        if stamp.order > record.base.order and _wins(write, merged.get(name)):
            merged[name] = write
            changed = True
    if not changed:
        return record
    return _record(record.value, record.base, latest_of(record.timestamp, stamp), record.ttl_ms, merged)


def merge(a: Record, b: Record) -> Record:
    """What two states of a key become when they meet (LW4 to LW9), in either order."""
    fields = dict(a.fields)
    for name, write in b.fields.items():
        if _wins(write, fields.get(name)):
            fields[name] = write
    if a.base == b.base:
        value, ttl_ms = _join(a, b)
        base = a.base
    else:
        winner = a if a.base.order > b.base.order else b
        value, ttl_ms, base = _whole(winner), winner.ttl_ms, winner.base
    kept = {name: write for name, write in fields.items() if write.stamp.order > base.order}
    return _record(value, base, latest_of(a.timestamp, b.timestamp), ttl_ms, kept)


def _record(
    value: Value, base: Stamp, timestamp: Stamp, ttl_ms: Optional[float], fields: Dict[str, FieldWrite]
) -> Record:
    if isinstance(value, dict):
        value = {name: member for name, member in value.items() if name not in fields}
        value.update((name, write.value) for name, write in fields.items() if not write.unset)
    latest = latest_of(timestamp, base, *(write.stamp for write in fields.values()))
    return Record(value, base, latest, None if value is None else ttl_ms, fields)


def _field_to_wire(write: FieldWrite, over_map: bool) -> Dict[str, Any]:
    wire: Dict[str, Any] = {"stamp": write.stamp.to_wire()}
    if write.unset:
        wire["unset"] = True
    elif not over_map:
        wire["value"] = write.value
    return wire


def _wins(a: FieldWrite, b: Optional[FieldWrite]) -> bool:
    """Whether a write of a field wins over another (LW6)."""
    if b is None:
        return True
    if a.stamp != b.stamp:
        return a.stamp.order > b.stamp.order
    if a.unset or b.unset:
        return a.unset and not b.unset
    return canonical(a.value) > canonical(b.value)


def _whole(record: Record) -> Value:
    """The whole write, as far as it can still be seen: what field writes overwrote counts as absent."""
    if not isinstance(record.value, dict):
        return record.value
    return {name: member for name, member in record.value.items() if name not in record.fields}


def _join(a: Record, b: Record) -> tuple[Value, Optional[float]]:
    """Of two whole writes with equal base stamps, the one that stands (LW5)."""
    if a.is_tombstone or b.is_tombstone:
        return None, None
    if isinstance(a.value, dict) and isinstance(b.value, dict):
        joined = _whole(a)
        for name, member in _whole(b).items():
            if name not in joined or canonical(member) > canonical(joined[name]):
                joined[name] = member
        return joined, _longer(a.ttl_ms, b.ttl_ms)
    if isinstance(a.value, dict) or isinstance(b.value, dict):
        winner = a if isinstance(a.value, dict) else b
        return _whole(winner), winner.ttl_ms
    in_order = (canonical(a.value), canonical(b.value))
    if in_order[0] == in_order[1]:
        return a.value, _longer(a.ttl_ms, b.ttl_ms)
    winner = a if in_order[0] > in_order[1] else b
    return winner.value, winner.ttl_ms


def _longer(a: Optional[float], b: Optional[float]) -> Optional[float]:
    return None if a is None or b is None else max(a, b)
