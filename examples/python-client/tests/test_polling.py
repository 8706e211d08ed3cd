"""What a poller does with the answers that a server could give."""

from __future__ import annotations

import time
import unittest
from typing import Any, Callable, Dict, List, Optional

from syncline.polling import Poller

Result = Dict[str, Any]
NOW = {"millis": 0, "counter": 0, "nodeId": "server"}


class Scripted(Poller):
    """A poller whose requests a function answers: it says what becomes of each operation."""

    def __init__(self, judge: Callable[[Dict[str, Any]], Result]) -> None:
        super().__init__("http://nowhere.invalid/sync")
        self.judge = judge
        self.sent: List[List[Dict[str, Any]]] = []
        self.deltas: List[Dict[str, Any]] = []
        self.fails = False

    def request(self, **parts: Any) -> Dict[str, Any]:
        operations = parts.get("operations", [])
        self.sent.append(operations)
        if self.fails:
            raise ConnectionError("no answer")
        self._offset = 0  # The server's clock is right.
        results = [{"opId": op["id"], **self.judge(op)} for op in operations]
        deltas, self.deltas = self.deltas, []
        return {"ack": {"results": results}, "deltas": deltas, "errors": []}


def refusal(code: str, **details: Any) -> Result:
    return {"success": False, "errorCode": code, "error": code, "details": details}


def ahead(op: Dict[str, Any]) -> bool:
    return op["record"]["timestamp"]["millis"] > time.time() * 1000 + 60_000


DONE: Result = {"success": True, "seq": 1}


class Rules(unittest.TestCase):
    """Each test is a conversation."""

    def test_cr6_every_write_as_late_as_a_refused_one_gets_a_new_stamp_in_order(self) -> None:
        poller = Scripted(lambda op: refusal("CLOCK_SKEW", serverTime=0) if ahead(op) else DONE)
        poller.set("m", "early", 1)
        poller._offset = 3_600_000  # The device's clock is an hour ahead.
        # More than one request holds: the last ones are not sent with the others.
        for n in range(1_500):
            poller.set("m", f"k{n}", n)
        poller.sync()
        self.assertEqual((poller.pending(), poller.rejected), (0, []))
        last: Dict[str, Any] = {}
        for op in (op for ops in poller.sent for op in ops):
            last[op["id"]] = op
        self.assertEqual([op["record"]["value"] for op in last.values()], [1, *range(1_500)])
        stamps = [tuple(op["record"]["timestamp"].values()) for op in last.values()]
        self.assertEqual(stamps, sorted(stamps))
        self.assertFalse(any(ahead(op) for op in last.values()))

    def test_cr7_a_patch_waits_for_the_put_before_it(self) -> None:
        busy = True

        def judge(op: Dict[str, Any]) -> Result:
            if not busy:
                return DONE
            return refusal("NOT_FOUND") if op["opType"] == "PATCH" else refusal("OVERLOADED")

        poller = Scripted(judge)
        poller.set("m", "a", {"n": 1})
        poller.update("m", "a", {"n": 2})
        poller.sync()
        self.assertEqual((poller.pending(), poller.rejected, poller.get("m", "a")), (2, [], {"n": 2}))
        busy = False
        poller.sync()
        self.assertEqual((poller.pending(), poller.get("m", "a")), (0, {"n": 2}))

    def test_rt5_a_stale_put_takes_what_followed_it_along(self) -> None:
        pruned: Optional[Dict[str, Any]] = None

        def judge(op: Dict[str, Any]) -> Result:
            stamp = op["record"]["timestamp"]
            if pruned is not None and tuple(stamp.values()) <= tuple(pruned.values()):
                return refusal("STALE", prunedThrough=pruned)
            return DONE

        poller = Scripted(judge)
        poller.set("m", "a", {"n": 1})
        poller.update("m", "a", {"n": 2})
        poller.set("m", "b", 1)
        poller.remove("m", "b")
        pruned = {"millis": int(time.time() * 1000) + 5_000, "counter": 0, "nodeId": "server"}
        poller.sync()
        self.assertEqual((poller.pending(), poller.rejected), (0, []))
        self.assertEqual((poller.get("m", "a"), poller.get("m", "b")), ({"n": 2}, None))
        self.assertEqual([op["key"] for op in poller.sent[-1]], ["a", "a", "b", "b"])

    def test_rt5_a_put_that_may_have_been_taken_before_is_not_stamped_anew(self) -> None:
        def judge(op: Dict[str, Any]) -> Result:
            return refusal("STALE", prunedThrough={**NOW, "millis": op["record"]["timestamp"]["millis"]})

        poller = Scripted(judge)
        poller.set("m", "a", 1)
        poller.fails = True
        with self.assertRaises(ConnectionError):
            poller.sync()
        poller.fails = False
        poller.sync()
        self.assertEqual([(lost.key, lost.code) for lost in poller.rejected], [("a", "STALE")])
        self.assertEqual(poller.pending(), 0)

    def test_rt5_a_write_does_not_bring_a_key_back_that_is_gone_after_a_reset(self) -> None:
        poller = Scripted(lambda op: refusal("OVERLOADED"))
        poller.follow("m")
        row = {"key": "a", "record": {"value": 1, "timestamp": NOW}, "eventType": "PUT"}
        poller.deltas = [{"mapName": "m", "records": [row], "serverSyncTimestamp": NOW}]
        poller.sync()
        poller.set("m", "a", 2)
        poller.set("m", "b", 1)
        poller.deltas = [{"mapName": "m", "records": [], "serverSyncTimestamp": NOW, "reset": True}]
        poller.sync()
        self.assertEqual([(lost.key, lost.code) for lost in poller.rejected], [("a", "STALE")])
        self.assertEqual((poller.pending(), poller.get("m", "a"), poller.get("m", "b")), (1, None, 1))


if __name__ == "__main__":
    unittest.main()
