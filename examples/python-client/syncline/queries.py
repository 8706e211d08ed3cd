"""Live queries: the rows that a server tells, and their order (QU1 to QU4, QY2, QY8, QY9)."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

from .values import SynclineError, Value, copy_value, sort_key, utf16

Rows = Dict[str, Value]


def in_order(rows: Rows, sort: Optional[Dict[str, str]] = None) -> List[Tuple[str, Value]]:
    """Rows by the fields of a sort in turn, then by key."""
    ordered = sorted(rows.items(), key=lambda row: utf16(row[0]))
    for path, direction in reversed(list((sort or {}).items())):
        ordered.sort(key=lambda row: sort_key(field_at(row[1], path)), reverse=direction == "desc")
    return ordered


def field_at(value: Value, path: str) -> Value:
    """What stands at the path of a field: the field of the whole name, else that of a map inside (QY2)."""
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    first, dot, rest = path.partition(".")
    return field_at(value[first], rest) if dot and first in value else None


class LiveQuery:
    """The result of a query, kept up to date by the server while there is a connection."""

    def __init__(
        self, query_id: str, map_name: str, query: Dict[str, Any], on_change: Optional[Callable[[], None]]
    ) -> None:
        self.id = query_id
        self.map_name = map_name
        self.query = query
        self.on_change = on_change
        #: Whether the first result is there.
        self.ready = False
        #: Why the server refused the query, if it did.
        self.error: Optional[SynclineError] = None
        # Rows are read on other threads than that which takes them in.
        self._lock = threading.Lock()
        self._rows: Rows = {}
        self._parts: Rows = {}

    def rows(self) -> List[Tuple[str, Value]]:
        """Key and value of each row, in the order of the query."""
        with self._lock:
            rows = dict(self._rows)
        return [(key, copy_value(value)) for key, value in in_order(rows, self.query.get("sort"))]

    def subscription(self) -> Dict[str, Any]:
        """The message that asks for it, anew on each connection."""
        self._parts = {}
        payload = {"queryId": self.id, "mapName": self.map_name, "query": self.query}
        return {"type": "QUERY_SUB", "payload": payload, "requestId": self.id}

    def take_result(self, payload: Dict[str, Any]) -> bool:
        """Takes in a part of the result; true where it is whole."""
        self._parts.update((row["key"], row["value"]) for row in payload["results"])
        if payload.get("more"):
            return False
        # The rows of the last connection stand until the new result is whole.
        with self._lock:
            self._rows, self._parts = self._parts, {}
        self.ready, self.error = True, None
        return True

    def take_update(self, payload: Dict[str, Any]) -> bool:
        """Takes in the change of a row; true where the result is that of one moment (QU4)."""
        with self._lock:
            if payload["changeType"] == "LEAVE":
                self._rows.pop(payload["key"], None)
            else:
                self._rows[payload["key"]] = payload["value"]
        return "version" in payload
