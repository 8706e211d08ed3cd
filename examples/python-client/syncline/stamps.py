"""Stamps and the hybrid logical clock that issues them. Rules HC1 to HC7 of the core specification."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, NamedTuple, Optional, Tuple

from .values import SynclineError, utf16

MAX_COUNTER = 65_535
MAX_MILLIS = 2**53 - 1
MAX_DRIFT_MS = 60_000

_TEXT = re.compile(r"(0|[1-9][0-9]{0,15}):(0|[1-9][0-9]{0,4}):([^:\0]*)\Z")


class Stamp(NamedTuple):
    """When a write was made, and by whom: the order in which writes win."""

    millis: int
    counter: int
    node_id: str

    @property
    def order(self) -> Tuple[int, int, bytes]:
        """What stamps are compared by (HC2): node ids by UTF-16 code unit, which is not Python's order."""
        return (self.millis, self.counter, utf16(self.node_id))

    def to_wire(self) -> Dict[str, Any]:
        """The stamp as it stands in messages."""
        return {"millis": self.millis, "counter": self.counter, "nodeId": self.node_id}

    def to_text(self) -> str:
        """``millis:counter:nodeId`` (HC1)."""
        return f"{self.millis}:{self.counter}:{self.node_id}"

    @staticmethod
    def from_wire(wire: Any) -> Stamp:
        """A stamp out of a message, or VALIDATION_ERROR."""
        if isinstance(wire, dict):
            stamp = _checked(wire.get("millis"), wire.get("counter"), wire.get("nodeId"))
            if stamp is not None:
                return stamp
        raise SynclineError("VALIDATION_ERROR", f"{wire!r} is not a stamp.")

    @staticmethod
    def from_text(text: str) -> Optional[Stamp]:
        """The stamp that a text stands for; none for any other text."""
        match = _TEXT.match(text)
        return _checked(int(match[1]), int(match[2]), match[3]) if match else None


def latest_of(*stamps: Stamp) -> Stamp:
    """The latest of some stamps."""
    return max(stamps, key=lambda stamp: stamp.order)


def is_ahead(millis: int, wall: float, max_drift_ms: float = MAX_DRIFT_MS) -> bool:
    """Whether a server refuses a stamp at this wall time (HC6)."""
    return millis - wall > max_drift_ms


def clock_offset(sent_at: float, answered_at: float, server_time: float) -> int:
    """What a client adds to its clock (HC7), rounded half up."""
    return math.floor(server_time - (sent_at + answered_at) / 2 + 0.5)


class Clock:
    """Issues stamps, each later than all that it has issued or observed (HC3 to HC5)."""

    def __init__(self, millis: int = 0, counter: int = -1) -> None:
        self.millis = millis
        self.counter = counter

    def issue(self, wall: int) -> Tuple[int, int]:
        """The next stamp at a wall time, without the node."""
        if wall > self.millis:
            self.millis, self.counter = wall, 0
        else:
            self._step()
        return (self.millis, self.counter)

    def observe(self, millis: int, counter: int, wall: int) -> None:
        """Takes notice of another node's stamp."""
        if wall > self.millis and wall > millis:
            self.millis, self.counter = wall, 0
            return
        self.millis, self.counter = max((self.millis, self.counter), (millis, counter))
        self._step()

    def _step(self) -> None:
        if self.counter < MAX_COUNTER:
            self.counter += 1
        else:
            self.millis, self.counter = self.millis + 1, 0


def _checked(millis: Any, counter: Any, node_id: Any) -> Optional[Stamp]:
    if not _is_whole(millis, MAX_MILLIS) or not _is_whole(counter, MAX_COUNTER) or not isinstance(node_id, str):
        return None
    if len(utf16(node_id)) > 256 or any(unit in ":\0" or "\ud800" <= unit <= "\udfff" for unit in node_id):
        return None
    return Stamp(millis, counter, node_id)


def _is_whole(number: Any, highest: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= highest
