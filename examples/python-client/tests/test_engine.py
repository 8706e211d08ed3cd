"""What a client does with writes and copies of maps, by messages that a server could send."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any, Dict, List

from syncline.engine import Engine
from syncline.store import Store

OTHER = {"millis": 5, "counter": 0, "nodeId": "other"}


class Rules(unittest.TestCase):
    """Each test is a connection, or two."""

    def setUp(self) -> None:
        self.store = Store()
        self.addCleanup(self.store.close)
        self.engine = Engine(self.store)

    def connect(self) -> List[Dict[str, Any]]:
        self.engine.opened()
        return self.engine.outgoing()

    def diff(self, *rows: Any, seq: int = 9, more: bool = False, **members: Any) -> None:
        records = [{"key": key, "record": record, "seq": at} for key, record, at in rows]
        payload = {"mapName": "m", "records": records, "cursor": f"c{seq}", "seq": seq, "more": more, **members}
        self.engine.received({"type": "SYNC_DIFF", "payload": payload})

    def acknowledge(self, *results: Dict[str, Any]) -> None:
        payload = {"lastId": results[-1]["opId"], "results": list(results)}
        self.engine.received({"type": "OP_ACK", "payload": payload})

    def refuse(self, op: Any, code: str, **details: Any) -> None:
        self.acknowledge({"opId": op.id, "success": False, "errorCode": code, "error": code, "details": details})

    def reset(self) -> None:
        self.engine.received({"type": "SYNC_RESET_REQUIRED", "payload": {"mapName": "m", "reason": "pruned"}})

    def types(self) -> List[str]:
        return [message["type"] for message in self.engine.outgoing()]

    def value(self, key: str) -> Any:
        record = self.engine.follow("m").record(key)
        return record and record.value

    def test_cr6_a_late_answer_to_the_former_stamp_is_not_that_of_the_op(self) -> None:
        first = self.engine.write("m", "a", "PUT", 1)
        self.connect()
        second = self.engine.write("m", "b", "PUT", 2)
        self.engine.outgoing()
        self.refuse(first, "CLOCK_SKEW", serverTime=self.engine.now() - 100_000)
        stamps = (first.stamp, second.stamp)
        self.assertLess(first.stamp.order, second.stamp.order)
        self.assertEqual(self.types(), ["OP_BATCH"])
        self.refuse(second, "CLOCK_SKEW", serverTime=0)
        self.assertEqual((first.stamp, second.stamp), stamps)
        self.assertEqual(self.types(), [])

    def test_cr7_a_patch_waits_for_the_put_before_it(self) -> None:
        put = self.engine.write("m", "a", "PUT", {"n": 1})
        patch = self.engine.write("m", "a", "PATCH", {"n": 2})
        self.connect()
        self.diff()
        self.refuse(put, "RATE_LIMITED", retryAfterMs=0)
        self.refuse(patch, "NOT_FOUND")
        self.assertEqual((self.engine.rejected, self.value("a")), ([], {"n": 2}))

    def test_cr9_cr10_events_before_the_first_page_do_not_move_the_cursor(self) -> None:
        self.engine.follow("m")
        self.connect()
        self.diff(("a", {"value": 1, "timestamp": OTHER}, 3))
        self.reset()
        self.assertIsNone(self.value("a"))
        event = {"mapName": "m", "eventType": "PUT", "key": "z", "record": {"value": 1, "timestamp": OTHER}, "seq": 10}
        self.engine.received({"type": "SERVER_EVENT", "payload": {**event, "cursor": "c10"}})
        self.assertIsNone(self.engine.follow("m").cursor)
        again = self.engine.outgoing()
        self.assertEqual([(message["type"], message["cursor"]) for message in again], [("SYNC_INIT", None)])

    def test_cr11_what_the_server_lost_is_pushed_before_ops(self) -> None:
        self.engine.follow("m")
        self.connect()
        self.diff(("a", {"value": 1, "timestamp": OTHER}, 3), ("b", {"value": 2, "timestamp": OTHER}, 4), seq=4)
        self.engine.follow("m").whole = True
        self.engine.write("m", "b", "PUT", 3)
        self.assertEqual([message["type"] for message in self.connect()], ["SYNC_INIT"])
        self.diff(seq=4, lost=[[3, 4]], digest="0" * 16)
        push, ops = self.engine.outgoing()
        self.assertEqual([row["key"] for row in push["payload"]["records"]], ["b"])
        self.assertEqual(ops["type"], "OP_BATCH")
        mine = {"value": 9, "timestamp": {**OTHER, "millis": 6}}
        refused = [{"key": "b", "errorCode": "FORBIDDEN", "message": "", "record": mine, "seq": 7}]
        payload = {"mapName": "m", "accepted": 0, "refused": refused}
        self.engine.received({"type": "SYNC_PUSH_RESP", "payload": payload})
        self.assertEqual(self.engine.follow("m").base["b"].value, 9)

    def test_cr12_an_op_leaves_when_the_cursor_has_reached_it(self) -> None:
        op = self.engine.write("m", "a", "PUT", 1)
        self.connect()
        self.diff(seq=4)
        self.acknowledge({"opId": op.id, "success": True, "seq": 5})
        self.assertEqual(len(self.engine.pending), 1)
        event = {"mapName": "m", "cursor": "c5", "seq": 5, "events": []}
        self.engine.received({"type": "SERVER_BATCH_EVENT", "payload": event})
        self.assertEqual(len(self.engine.pending), 0)

    def test_cr13_a_base_that_differs_is_fetched_anew_once(self) -> None:
        self.engine.follow("m")
        self.connect()
        row = ("a", {"value": 1, "timestamp": OTHER}, 3)
        self.diff(row, digest="0" * 16)
        self.assertEqual(self.types(), ["SYNC_INIT"])
        self.diff(row, digest="0" * 16)
        self.assertEqual((self.types(), self.value("a")), ([], 1))

    def test_rt5_a_write_does_not_bring_a_key_back_that_is_gone_after_a_reset(self) -> None:
        self.engine.follow("m")
        self.connect()
        self.diff(("a", {"value": {}, "timestamp": OTHER}, 3), ("b", {"value": {}, "timestamp": OTHER}, 4))
        self.engine.closed()
        self.engine.write("m", "a", "PATCH", {"n": 1})
        self.engine.write("m", "b", "REMOVE", None)
        fresh = self.engine.write("m", "c", "PUT", 1)
        self.connect()
        self.reset()
        self.assertEqual(self.types(), ["SYNC_INIT"])
        self.diff()
        self.assertEqual([(lost.key, lost.code) for lost in self.engine.rejected], [("a", "STALE")])
        (batch,) = self.engine.outgoing()
        self.assertEqual([op["key"] for op in batch["payload"]["ops"]], ["c"])
        before = fresh.stamp
        pruned = {"millis": self.engine.now() + 5_000, "counter": 0, "nodeId": "server"}
        self.refuse(fresh, "STALE", prunedThrough=pruned)
        self.assertGreater(fresh.stamp.order, before.order)
        self.assertGreater(fresh.stamp.millis, pruned["millis"] - 1)
        self.assertEqual(self.types(), ["OP_BATCH"])

    def test_rt5_what_follows_a_put_that_is_stamped_anew_is_stamped_anew_too(self) -> None:
        put = self.engine.write("m", "a", "PUT", {"n": 1})
        patch = self.engine.write("m", "a", "PATCH", {"n": 2})
        removal = self.engine.write("m", "a", "REMOVE", None)
        other = self.engine.write("m", "b", "PUT", 1)
        before = other.stamp
        self.connect()
        self.diff()
        pruned = {"millis": self.engine.now() + 5_000, "counter": 0, "nodeId": "server"}
        stale = {"success": False, "errorCode": "STALE", "error": "", "details": {"prunedThrough": pruned}}
        # All of one batch: the answers to the last two are about the stamps that they had.
        self.acknowledge(*({"opId": op.id, **stale} for op in (put, patch, removal)))
        stamps = [op.stamp.order for op in (put, patch, removal)]
        self.assertEqual(stamps, sorted(stamps))
        self.assertGreater(put.stamp.millis, pruned["millis"] - 1)
        self.assertEqual((self.engine.rejected, other.stamp), ([], before))
        (batch,) = self.engine.outgoing()
        self.assertEqual([op["opType"] for op in batch["payload"]["ops"]], ["PUT", "PATCH", "REMOVE"])

    def test_rt5_a_put_that_may_have_been_taken_before_is_not_stamped_anew(self) -> None:
        put = self.engine.write("m", "a", "PUT", {"n": 1})
        self.connect()
        self.diff()
        self.engine.closed()
        on_top = self.engine.write("m", "a", "PATCH", {"n": 2})
        fresh = self.engine.write("m", "b", "PUT", 1)
        self.connect()
        pruned = {"millis": self.engine.now() + 5_000, "counter": 0, "nodeId": "server"}
        stale = {"success": False, "errorCode": "STALE", "error": "", "details": {"prunedThrough": pruned}}
        self.diff()
        self.engine.outgoing()
        self.acknowledge(*({"opId": op.id, **stale} for op in (put, on_top, fresh)))
        self.assertEqual([(lost.key, lost.value) for lost in self.engine.rejected], [("a", {"n": 1}), ("a", {"n": 2})])
        self.assertEqual(list(self.engine.pending), [fresh.id])

    def test_a_batch_that_is_refused_as_a_whole_is_sent_op_by_op(self) -> None:
        self.engine.write("m", "a", "PUT", 1)
        self.engine.write("m", "b", "PUT", 2)
        _, batch = self.connect()
        error = {"code": 413, "errorCode": "TOO_LARGE", "message": "", "about": "OP_BATCH"}
        self.engine.received({"type": "ERROR", "payload": error, "requestId": batch["requestId"]})
        self.assertEqual(self.types(), ["OP_BATCH", "OP_BATCH"])

    def test_what_was_kept_is_there_after_a_restart(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = Store(os.path.join(folder.name, "kept.db"))
        self.engine = Engine(self.store)
        self.engine.follow("m")
        self.connect()
        self.diff(("a", {"value": {"n": 1, "raw": b"\0"}, "timestamp": OTHER}, 3))
        self.engine.write("m", "a", "PATCH", {"n": 2})
        last = self.engine.write("m", "b", "PUT", 1, ttl_ms=60_000)
        self.store.close()
        self.store = Store(os.path.join(folder.name, "kept.db"))
        self.addCleanup(self.store.close)
        self.engine = Engine(self.store)
        self.assertEqual((self.value("a"), self.value("b")), ({"n": 2, "raw": b"\0"}, 1))
        self.assertEqual(self.engine.pending[last.id].to_wire(), last.to_wire())
        self.assertEqual([op.sent for op in self.engine.pending.values()], [False, False])
        self.assertGreater(self.engine.write("m", "c", "PUT", 1).stamp.order, last.stamp.order)
        self.assertEqual(self.connect()[0]["cursor"], "c9")


if __name__ == "__main__":
    unittest.main()
