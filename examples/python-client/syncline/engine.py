"""What a client does with writes and with copies of maps: rules CR4 to CR13 and RT5.

It knows no sockets and no threads.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from . import records
from .messages import BATCH_OPS, IN_DOUBT, RETRYABLE
from .replica import Entry, Op, Replica
from .stamps import Clock, Stamp, clock_offset, latest_of
from .store import Store
from .values import SynclineError, Value, check_name, copy_value, encode_frame

Message = Dict[str, Any]
_FRAME_CHARACTERS = 1_000_000
_LONGEST_RETRY = 30.0


class Rejection(NamedTuple):
    """A write that will not be sent again: the server refused it for good, or its key is gone (``STALE``)."""

    map_name: str
    key: str
    value: Value
    code: str
    message: str


class Engine:
    """All maps of a client. Its caller holds a lock, sends what ``outgoing`` returns and hands over what comes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clock = Clock(store.clock.millis, store.clock.counter)
        self._heard = store.heard
        self._offset = 0
        self.replicas, pending = store.load()
        #: The writes that are not confirmed, in the order of their stamps.
        self.pending: Dict[str, Op] = {}
        for op in pending:
            self._keep(op)
        self.rejected: List[Rejection] = []
        #: Keys that changed since this was last looked at, by map.
        self.changed: Set[Tuple[str, str]] = set()
        self._batches: Dict[str, List[Op]] = {}
        self._follows: Dict[str, Replica] = {}
        self._out: List[Message] = []
        self._open = False
        self._count = 0

    # Time.

    def now(self) -> int:
        """Milliseconds since 1970 by the clock of the server."""
        return int(time.time() * 1000) + self._offset

    def server_time(self, sent_at: float, answered_at: float, server_time: float) -> None:
        """Corrects the clock by what the server says (HC7)."""
        self._offset = clock_offset(sent_at, answered_at, server_time)

    def _issue(self) -> Stamp:
        return Stamp(*self._clock.issue(self.now()), self._store.node_id)

    def _observe(self, stamp: Stamp) -> None:
        self._clock.observe(stamp.millis, stamp.counter, self.now())
        self._heard = latest_of(self._heard, stamp)

    def _save_clock(self) -> None:
        self._store.save_clock(Stamp(self._clock.millis, max(self._clock.counter, 0), ""), self._heard)

    # What an application does.

    def follow(self, name: str) -> Replica:
        """The copy of a map, which is followed from now on."""
        replica = self.replicas.get(name)
        if replica is None:
            replica = self.replicas[name] = Replica(name)
            if self._open:
                self._start(replica)
        return replica

    def write(
        self,
        map_name: str,
        key: str,
        op_type: str,
        value: Value,
        unset: Iterable[str] = (),
        ttl_ms: Optional[float] = None,
        fence: Optional[Dict[str, Any]] = None,
    ) -> Op:
        """Keeps a write, and shows it at once; it is sent when it can be."""
        replica = self.follow(map_name)
        for name in (map_name, key):
            if not name or copy_value(name) != name:
                raise SynclineError("BAD_KEY", "A map and a key have names that are not empty.")
        value, names = copy_value(value), [check_name(name) for name in unset]
        known = replica.is_confirmed(key)
        op = Op(uuid.uuid4().hex, map_name, key, op_type, value, self._issue(), names, ttl_ms, fence, known)
        with self._store.transaction():
            self._store.save_op(op)
            self._save_clock()
        self._keep(op)
        self.changed.add((map_name, key))
        return op

    # A connection.

    def opened(self) -> None:
        """A connection can be used: maps are followed, and every write that waits is sent, again too (CR4)."""
        self.closed()
        self._open = True
        for replica in self.replicas.values():
            self._start(replica)

    def closed(self) -> None:
        """The connection is over: what it acknowledged counts no more, unless the cursor has reached it (CR12)."""
        self._open = False
        self._out.clear()
        self._batches.clear()
        self._follows.clear()
        for op in self.pending.values():
            op.flights.clear()
            op.acknowledged = None
        for replica in self.replicas.values():
            replica.new_connection()

    def due_in(self) -> float:
        """Seconds until something is to be sent again."""
        times = [op.retry_at for op in self.pending.values() if op.retry_at]
        times += [replica.retry_at for replica in self.replicas.values() if replica.retry_at]
        return max(0.0, min(times) - time.monotonic()) if times else 60.0

    def outgoing(self) -> List[Message]:
        """What is to be sent now."""
        now = time.monotonic()
        for replica in self.replicas.values():
            if replica.retry_at and replica.retry_at <= now:
                self._start(replica)
        out, self._out = self._out, []
        # One order for all maps: that of the stamps (CR4).
        if not any(replica.holds_back() for replica in self.replicas.values()):
            self._batch([op for op in self.pending.values() if _is_due(op, now)], out)
        return out

    def _batch(self, ops: List[Op], out: List[Message]) -> None:
        batch: List[Op] = []
        size = 0
        for op in ops:
            length = len(encode_frame(op.to_wire()))
            if batch and (op.alone or batch[-1].alone or len(batch) == BATCH_OPS or size + length > _FRAME_CHARACTERS):
                out.append(self._op_batch(batch))
                batch, size = [], 0
            batch.append(op)
            size += length
        if batch:
            out.append(self._op_batch(batch))

    def _op_batch(self, ops: List[Op]) -> Message:
        request_id = self._request("b")
        self._batches[request_id] = ops
        with self._store.transaction():
            for op in ops:
                op.retry_at = 0.0
                op.flights.append((op.stamp, op.sent))
                if not op.sent:
                    op.sent = True
                    self._store.save_op(op)
        return {"type": "OP_BATCH", "payload": {"ops": [op.to_wire() for op in ops]}, "requestId": request_id}

    def _start(self, replica: Replica) -> None:
        request_id = self._request("m")
        self._follows[request_id] = replica
        replica.awaiting, replica.here, replica.retry_at, replica.refused = True, False, None, None
        message = {"type": "SYNC_INIT", "mapName": replica.name, "cursor": replica.cursor, "requestId": request_id}
        self._out.append(message)

    def _request(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"

    # What comes.

    def received(self, message: Message) -> None:
        """Takes in a message of the server; those of other features are none of its business."""
        handle = self._HANDLERS.get(message["type"])
        if handle is not None:
            handle(self, message)

    def _op_ack(self, message: Message) -> None:
        self._batches.pop(message.get("requestId", ""), None)
        answered = []
        for result in message["payload"]["results"]:
            op = self.pending.get(result["opId"])
            if op is None:
                continue
            stamp, was_sent = op.flights.popleft() if op.flights else (op.stamp, op.sent)
            if stamp == op.stamp:  # Otherwise it has a new one since, under which it was sent again.
                answered.append((op, stamp, was_sent, result))
        # Those that succeeded first, so that they do not get the new stamps of those that came from the future.
        for op, _, _, result in answered:
            if result["success"]:
                op.acknowledged, op.attempts = result.get("seq", 0), 0
                self._observe(op.stamp)
        for op, stamp, was_sent, result in answered:
            # Not where the refusal of an op before it has given it a new stamp.
            if not result["success"] and not op.flights and op.stamp == stamp:
                code, text = result.get("errorCode", "INTERNAL_ERROR"), result.get("error", "")
                self._refused(op, code, text, result.get("details") or {}, was_sent)
        with self._store.transaction():
            self._save_clock()
            self._drop_reached({op.map_name for op, _, _, _ in answered})

    def _refused(self, op: Op, code: str, text: str, details: Dict[str, Any], was_sent: bool) -> None:
        if op.id not in self.pending or op.acknowledged is not None:
            return
        # It was not taken now; whether it was before is not known.
        op.sent = was_sent or code in IN_DOUBT
        earlier = self.replicas[op.map_name].overlay[op.key][0]
        if code == "CLOCK_SKEW" and "serverTime" in details:
            self._correct(op, details["serverTime"])
        elif code == "STALE" and op.op_type == "REMOVE":
            self._give_up(op, None)
        elif code == "STALE" and op.op_type == "PUT" and not op.known and not was_sent:
            self._observe(Stamp.from_wire(details["prunedThrough"]))
            # What followed it on its key follows it still (RT5).
            ops = self.replicas[op.map_name].overlay[op.key]
            self._restamp([o for o in ops if o.stamp.order >= op.stamp.order and o.acknowledged is None])
        elif code in RETRYABLE or (code == "NOT_FOUND" and earlier is not op and earlier.acknowledged is None):
            # A PATCH finds nothing where the PUT before it still waits.
            self._later(op, details.get("retryAfterMs", 0))
        elif code == "STALE":
            # What was written on top of it goes with it (RT5).
            for lost in [o for o in self.replicas[op.map_name].overlay[op.key] if o.stamp.order >= op.stamp.order]:
                self._give_up(lost, Rejection(lost.map_name, lost.key, lost.value, code, text))
        else:
            self._give_up(op, Rejection(op.map_name, op.key, op.value, code, text))

    def _correct(self, op: Op, server_time: float) -> None:
        """The clock was ahead (CR6): from this op on, all that wait get new stamps."""
        self._offset = round(server_time - time.time() * 1000)
        late = [o for o in self.pending.values() if o.stamp.order >= op.stamp.order and o.acknowledged is None]
        kept = [o.stamp for o in self.pending.values() if o not in late]
        floor = latest_of(self._heard, *kept)
        self._clock = Clock(floor.millis, floor.counter)
        self._restamp(late)

    def _restamp(self, ops: List[Op]) -> None:
        for op in ops:
            op.stamp, op.sent = self._issue(), False
            op.attempts += 1
            op.retry_at = time.monotonic() + _backoff(op.attempts - 1) if op.attempts > 1 else 0.0
            self.replicas[op.map_name].sort_key(op.key)
            self.changed.add((op.map_name, op.key))
        self.pending = {op.id: op for op in sorted(self.pending.values(), key=lambda op: op.stamp.order)}
        with self._store.transaction():
            for op in ops:
                self._store.save_op(op)
            self._save_clock()

    def _later(self, op: Op, retry_after_ms: float) -> None:
        op.attempts += 1
        op.retry_at = time.monotonic() + max(retry_after_ms / 1000, _backoff(op.attempts))

    def _give_up(self, op: Op, rejection: Optional[Rejection]) -> None:
        with self._store.transaction():
            self._drop(op)
        if rejection is not None:
            self.rejected.append(rejection)

    def _sync_diff(self, message: Message) -> None:
        payload = message["payload"]
        replica = self.replicas.get(payload["mapName"])
        if replica is None:
            return
        first, replica.awaiting, replica.here = replica.awaiting, False, not payload["more"]
        entries = _entries(payload["records"])
        changed = [key for key, _, _ in entries]
        replica.merge(entries)
        replica.cursor, replica.seq = payload["cursor"], payload["seq"]
        if "prunedThroughSeq" in payload:
            changed += replica.prune(payload["prunedThroughSeq"])
        if first and payload.get("lost") and replica.whole:
            self._push(replica, payload["lost"])
        differs = False
        if not payload["more"]:
            digest = payload.get("digest")
            # What was pushed is not in the server's digest.
            differs = digest is not None and not replica.pushed and not replica.restarted and digest != replica.digest()
            replica.whole = digest is not None and not differs
        ended_reset = replica.was_reset and not payload["more"] and not differs
        replica.was_reset = replica.was_reset and not ended_reset
        self._take_in(replica, entries, changed)
        if ended_reset:
            self._tell_conflicts(replica)
        if differs:
            replica.restarted = True
            self._begin_anew(replica)

    def _event(self, message: Message) -> None:
        payload = message["payload"]
        replica = self.replicas.get(payload["mapName"])
        # Events without a cursor are of a live query; before the first page, of the time before a new beginning.
        if replica is None or replica.awaiting or "cursor" not in payload:
            return
        events = payload["events"] if message["type"] == "SERVER_BATCH_EVENT" else [payload]
        entries = _entries(events)
        changed = [key for key, _, _ in entries]
        replica.merge(entries)
        replica.cursor, replica.seq = payload["cursor"], payload["seq"]
        if "prunedThroughSeq" in payload:
            changed += replica.prune(payload["prunedThroughSeq"])
        self._take_in(replica, entries, changed)

    def _take_in(self, replica: Replica, entries: List[Entry], changed: List[str]) -> None:
        """Stores records with the cursor that came with them (CR9), and lets go of the ops that they confirm."""
        for _, record, _ in entries:
            self._observe(record.timestamp)
        with self._store.transaction():
            self._store.save_map(replica, changed)
            self._save_clock()
            self._drop_reached({replica.name})
        self.changed.update((replica.name, key) for key in changed)

    def _push(self, replica: Replica, lost: List[List[int]]) -> None:
        entries = replica.lost_entries(lost)
        replica.pushed = bool(entries)
        for at in range(0, len(entries), BATCH_OPS):
            payload = {"mapName": replica.name, "records": entries[at : at + BATCH_OPS]}
            self._out.append({"type": "SYNC_PUSH", "payload": payload})

    def _push_answered(self, message: Message) -> None:
        replica = self.replicas.get(message["payload"]["mapName"])
        if replica is None:
            return
        entries, changed = [], []
        for refusal in message["payload"]["refused"]:
            key = refusal["key"]
            replica.drop(key)
            changed.append(key)
            if "record" in refusal:
                entries.append((key, records.from_wire(refusal["record"]), refusal.get("seq", replica.seq)))
        replica.merge(entries)
        self._take_in(replica, entries, changed)

    def _reset(self, message: Message) -> None:
        replica = self.replicas.get(message["payload"]["mapName"])
        if replica is not None:
            replica.was_reset = True
            self._begin_anew(replica)

    def _begin_anew(self, replica: Replica) -> None:
        self.changed.update((replica.name, key) for key in replica.keys())
        replica.forget()
        with self._store.transaction():
            self._store.clear_map(replica)
        self._start(replica)

    def _tell_conflicts(self, replica: Replica) -> None:
        """After a reset: a write of a key that was there and is gone does not bring it back (RT5)."""
        for op in [op for ops in replica.overlay.values() for op in ops]:
            if op.known and op.key not in replica.base:
                text = "The key was removed while this device was away."
                gone = None if op.op_type == "REMOVE" else Rejection(op.map_name, op.key, op.value, "STALE", text)
                self._give_up(op, gone)

    def _error(self, message: Message) -> None:
        payload, request_id = message["payload"], message.get("requestId", "")
        code, text, details = payload["errorCode"], payload.get("message", ""), payload.get("details") or {}
        replica = self._follows.pop(request_id, None)
        if replica is not None:
            self._follow_refused(replica, code, details)
        batch = self._batches.pop(request_id, [])
        for op in batch:
            was_sent = op.flights.popleft()[1] if op.flights else op.sent
            if len(batch) > 1 and code not in RETRYABLE:
                op.sent = was_sent
                op.alone = True  # One of them is at fault: each is sent by itself.
            else:
                self._refused(op, code, text, details, was_sent)

    def _follow_refused(self, replica: Replica, code: str, details: Dict[str, Any]) -> None:
        if code == "INVALID_CURSOR":
            self._begin_anew(replica)
        elif code in RETRYABLE:
            replica.retry_at = time.monotonic() + max(1.0, details.get("retryAfterMs", 0) / 1000)
        else:
            replica.refused = code
            with self._store.transaction():
                self._drop_reached({replica.name})

    # Writes that wait.

    def _keep(self, op: Op) -> None:
        self.pending[op.id] = op
        self.replicas.setdefault(op.map_name, Replica(op.map_name)).add(op)

    def _drop(self, op: Op) -> None:
        del self.pending[op.id]
        self.replicas[op.map_name].remove(op)
        self._store.drop_op(op)
        self.changed.add((op.map_name, op.key))

    def _drop_reached(self, names: Set[str]) -> None:
        """Ops leave when they are acknowledged and their map has come so far (CR12), or cannot be followed."""
        for op in list(self.pending.values()):
            if op.map_name in names and op.acknowledged is not None:
                replica = self.replicas[op.map_name]
                if replica.seq >= op.acknowledged or replica.refused is not None:
                    self._drop(op)

    _HANDLERS: Dict[str, Callable[[Engine, Message], None]] = {
        "OP_ACK": _op_ack,
        "SYNC_DIFF": _sync_diff,
        "SERVER_EVENT": _event,
        "SERVER_BATCH_EVENT": _event,
        "SYNC_PUSH_RESP": _push_answered,
        "SYNC_RESET_REQUIRED": _reset,
        "ERROR": _error,
    }


def _is_due(op: Op, now: float) -> bool:
    """Whether an op is to be sent: it is not under way under this stamp, and not waiting for its time."""
    return op.acknowledged is None and op.retry_at <= now and (not op.flights or op.flights[-1][0] != op.stamp)


def _backoff(attempts: int) -> float:
    return min(_LONGEST_RETRY, 0.1 * 2 ** min(attempts, 12)) * random.uniform(0.5, 1.0)


def _entries(items: List[Dict[str, Any]]) -> List[Entry]:
    return [(item["key"], records.from_wire(item["record"]), item.get("seq", 0)) for item in items]
