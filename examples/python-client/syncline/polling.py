"""A client without a connection: writes and changes by ``POST /sync``, whenever the application asks (HS1 to HS6)."""

from __future__ import annotations

import time
import uuid
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from . import records
from .engine import Rejection
from .messages import BATCH_OPS, IN_DOUBT, RETRYABLE
from .replica import Op, Replica
from .stamps import Clock, Stamp, clock_offset, latest_of
from .values import SynclineError, Value, copy_value, decode_frame, encode_frame

Json = Dict[str, Any]
_MOST_REQUESTS = 1_000


class Poller:
    """Copies of maps in memory, and the writes that wait. One thread uses it."""

    def __init__(self, url: str, *, token: Optional[str] = None, timeout: float = 30.0) -> None:
        self._url, self._token, self._timeout = url, token, timeout
        self._node_id = f"py-{uuid.uuid4().hex[:16]}"
        self._clock = Clock()
        self._heard = Stamp(0, 0, "")
        self._offset = 0
        self._replicas: Dict[str, Replica] = {}
        #: From which moment of the server each map is asked for next.
        self._moments: Dict[str, Any] = {}
        self._pending: List[Op] = []
        #: The writes that were refused for good, in order.
        self.rejected: List[Rejection] = []

    def follow(self, map_name: str) -> None:
        """Asks for the changes of a map from now on."""
        self._replicas.setdefault(map_name, Replica(map_name))

    def get(self, map_name: str, key: str) -> Value:
        """The value of a key, as of the last ``sync`` and the writes since; None where there is none."""
        replica = self._replicas.get(map_name)
        record = replica.record(key) if replica else None
        return copy_value(record.value) if record and record.is_visible(self._now()) else None

    def set(self, map_name: str, key: str, value: Value) -> None:
        """Writes a whole value."""
        self._write(map_name, key, "PUT", value)

    def update(self, map_name: str, key: str, fields: Json, unset: Iterable[str] = ()) -> None:
        """Writes some fields, and removes others."""
        self._write(map_name, key, "PATCH", fields, list(unset))

    def remove(self, map_name: str, key: str) -> None:
        """Removes a key."""
        self._write(map_name, key, "REMOVE", None)

    def pending(self) -> int:
        """How many writes the server has not confirmed."""
        return len(self._pending)

    def sync(self) -> None:
        """Sends what waits and fetches what is new, by as many requests as that takes."""
        for _ in range(_MOST_REQUESTS):
            ops = self._pending[:BATCH_OPS]
            was_sent = {op.id for op in ops if op.sent}
            for op in ops:
                op.sent = True
            answer = self.request(
                operations=[op.to_wire() for op in ops],
                syncMaps=[self._wish(name) for name in self._replicas],
            )
            waiting = self._take_results(ops, answer.get("ack", {}).get("results", []), was_sent)
            more = False
            for delta in answer["deltas"]:
                more = self._take_delta(delta) or more
            # What must wait is sent by the next call of the application, not at once.
            if not more and (waiting or not self._pending):
                return

    def query(self, map_name: str, where: Optional[Json] = None, **more: Any) -> List[Tuple[str, Value]]:
        """The rows of a query now; ``sort``, ``limit``, ``offset`` and ``cursor`` may be named."""
        query = {"queryId": "q", "mapName": map_name, "filter": where or {}, **more}
        answer = self.request(queries=[query])
        for error in answer["errors"]:
            raise SynclineError(error["errorCode"], error["message"])
        return [(row["key"], row["value"]) for row in answer["queryResults"][0]["results"]]

    def request(self, **parts: Any) -> Json:
        """One request with these parts, and its answer. Raises what refused it as a whole."""
        stamp = Stamp(*self._clock.issue(self._now()), self._node_id)
        body = {"clientId": self._node_id, "clientHlc": stamp.to_wire(), **parts}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        request = Request(self._url, encode_frame(body).encode("utf-8"), headers, method="POST")
        sent_at = time.time() * 1000
        try:
            with urlopen(request, timeout=self._timeout) as response:
                answer = decode_frame(response.read().decode("utf-8"))
        except HTTPError as error:
            answer = decode_frame(error.read().decode("utf-8"))
            if "serverHlc" not in answer:
                raise SynclineError(answer.get("errorCode", "INTERNAL_ERROR"), answer.get("error", "")) from None
        self._offset = clock_offset(sent_at, time.time() * 1000, answer["serverHlc"]["millis"])
        return answer

    def _now(self) -> int:
        return int(time.time() * 1000) + self._offset

    def _write(self, map_name: str, key: str, op_type: str, value: Value, unset: Optional[List[str]] = None) -> None:
        self.follow(map_name)
        stamp = Stamp(*self._clock.issue(self._now()), self._node_id)
        op = Op(uuid.uuid4().hex, map_name, key, op_type, copy_value(value), stamp, unset or [])
        op.known = self._replicas[map_name].is_confirmed(key)
        self._replicas[map_name].add(op)
        self._pending.append(op)

    def _wish(self, map_name: str) -> Json:
        wish: Json = {"mapName": map_name}
        if map_name in self._moments:
            wish["lastSyncTimestamp"] = self._moments[map_name]
        return wish

    def _take_results(self, ops: List[Op], results: List[Json], was_sent: Set[str]) -> bool:
        """Takes in what became of the ops that were sent; true where some must be sent again later."""
        waiting = False
        skewed: List[Op] = []
        stale: List[Op] = []
        for op, result in zip(ops, results):
            details = result.get("details") or {}
            code = result.get("errorCode", "INTERNAL_ERROR")
            # It was not taken now; whether it was before is not known (RT5).
            op.sent = op.id in was_sent or code in IN_DOUBT
            if result["success"]:
                # What the request wrote is not among its deltas: it is merged here.
                replica = self._replicas[op.map_name]
                merged = op.over(replica.base.get(op.key))
                self._settle(op)
                if merged is not None:
                    replica.merge([(op.key, merged, result.get("seq", 0))])
                    self._observe(op.stamp)
            elif code == "CLOCK_SKEW":
                skewed.append(op)
            elif code == "STALE" and op.op_type == "PUT" and not op.known and op.id not in was_sent:
                stale.append(op)
                self._observe(Stamp.from_wire(details["prunedThrough"]))
            elif code in RETRYABLE:
                waiting = True
            elif self._before(op) in stale or (code == "NOT_FOUND" and self._before(op) is not op):
                # Because the PUT before it on its key waits (CR7); where that gets a new stamp, so does this (RT5).
                waiting = waiting or self._before(op) not in skewed + stale
            else:
                self._settle(op)
                if code != "STALE" or op.op_type != "REMOVE":
                    rejection = Rejection(op.map_name, op.key, op.value, code, result.get("error", ""))
                    self.rejected.append(rejection)
        if skewed or stale:
            self._restamp(skewed, stale)
        return waiting

    def _before(self, op: Op) -> Op:
        """The first write of the same key that waits."""
        return self._replicas[op.map_name].overlay[op.key][0]

    def _restamp(self, skewed: List[Op], stale: List[Op]) -> None:
        def is_late(op: Op) -> bool:
            """As late as one from the future (CR6), or after one that gets a new stamp on its key (RT5)."""
            return any(op.stamp.order >= other.stamp.order for other in skewed) or any(
                (op.map_name, op.key) == (other.map_name, other.key) and op.stamp.order >= other.stamp.order
                for other in stale
            )

        late = [op for op in self._pending if is_late(op)]
        if skewed:
            # The answer has corrected the clock already; the stamps from the future are forgotten.
            floor = latest_of(self._heard, *(op.stamp for op in self._pending if op not in late))
            self._clock = Clock(floor.millis, floor.counter)
        for op in late:
            op.stamp, op.sent = Stamp(*self._clock.issue(self._now()), self._node_id), False
            self._replicas[op.map_name].sort_key(op.key)
        self._pending.sort(key=lambda op: op.stamp.order)

    def _take_delta(self, delta: Json) -> bool:
        """Takes in the changes of a map; true where there are more."""
        replica = self._replicas[delta["mapName"]]
        if delta.get("reset"):
            replica.forget()
            replica.was_reset = True
        for row in delta["records"]:
            record = records.from_wire(row["record"])
            self._observe(record.timestamp)
            replica.merge([(row["key"], record, 0)])
        self._moments[replica.name] = delta["serverSyncTimestamp"]
        if not delta.get("more") and replica.was_reset:
            replica.was_reset = False
            self._tell_conflicts(replica)
        return bool(delta.get("more"))

    def _tell_conflicts(self, replica: Replica) -> None:
        """After a reset: a write of a key that was there and is gone does not bring it back (RT5)."""
        for op in [op for ops in replica.overlay.values() for op in ops]:
            if op.known and op.key not in replica.base:
                self._settle(op)
                if op.op_type != "REMOVE":
                    text = "The key was removed while this program did not ask."
                    self.rejected.append(Rejection(op.map_name, op.key, op.value, "STALE", text))

    def _observe(self, stamp: Stamp) -> None:
        self._clock.observe(stamp.millis, stamp.counter, self._now())
        self._heard = latest_of(self._heard, stamp)

    def _settle(self, op: Op) -> None:
        self._pending.remove(op)
        self._replicas[op.map_name].remove(op)
