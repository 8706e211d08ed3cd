"""The client against a real server, whose address and tokens the environment names; skipped without it."""

from __future__ import annotations

import os
import tempfile
import unittest
from typing import Any, List
from urllib.parse import urlsplit

from syncline import Client, Poller, SynclineError

URL = os.environ.get("SYNCLINE_URL", "")
TOKEN = os.environ.get("SYNCLINE_TOKEN")


@unittest.skipUnless(URL, "SYNCLINE_URL names no server")
class EndToEnd(unittest.TestCase):
    """Two clients, or a client and a poller, meet on a server."""

    def client(self, **more: Any) -> Client:
        client = Client(URL, token=TOKEN, **more)
        self.addCleanup(client.close)
        return client

    def until(self, client: Client, condition: Any) -> None:
        self.assertTrue(client.wait_until(condition), f"not in time; last error: {client.last_error}")

    def test_edits_of_different_fields_meet(self) -> None:
        ada, bob = self.client().connect(), self.client().connect()
        mine, theirs = ada.map("todos"), bob.map("todos")
        mine.set("milk", {"text": "Milk", "done": False, "raw": b"\0\xff", "$bytes": 1.5})
        self.until(bob, lambda: theirs.get("milk") is not None)
        self.assertEqual(theirs.get("milk"), {"text": "Milk", "done": False, "raw": b"\0\xff", "$bytes": 1.5})
        mine.update("milk", {"done": True}, unset=["raw"])
        theirs.update("milk", {"text": "Oat milk"})
        both = {"text": "Oat milk", "done": True, "$bytes": 1.5}
        self.until(ada, lambda: mine.get("milk") == both)
        self.until(bob, lambda: theirs.get("milk") == both)
        mine.remove("milk")
        self.until(bob, lambda: theirs.get("milk") is None)
        self.assertTrue(ada.wait_synced() and bob.wait_synced())
        self.assertEqual(ada.rejected() + bob.rejected(), [])

    def test_many_records_come_in_pages_and_the_digests_agree(self) -> None:
        ada = self.client().connect()
        many = ada.map("many")
        for at in range(1_200):
            many.set(f"k{at}", {"n": at, "text": "ä😀" * (at % 7)})
        self.assertTrue(ada.wait_synced(20))
        bob = self.client().connect()
        copy = bob.map("many")
        self.assertTrue(bob.wait_synced(20))
        self.assertEqual(len(copy.items()), 1_200)
        with bob.lock_state() as engine:
            replica = engine.replicas["many"]
            self.assertTrue(replica.whole)
            self.assertFalse(replica.restarted, "the digest of the base was not that of the server")

    def test_writes_without_a_connection_are_kept_and_sent_later(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "todos.db")
            offline = Client(URL, token=TOKEN, path=path)
            offline.map("offline").set("a", {"n": 1})
            offline.map("offline").update("a", {"m": 2})
            with self.assertRaises(SynclineError):
                Client(URL, path=path)
            offline.close()
            again = Client(URL, token=TOKEN, path=path)
            self.assertEqual((again.pending(), again.map("offline").get("a")), (2, {"n": 1, "m": 2}))
            again.connect()
            self.assertTrue(again.wait_synced())
            again.close()
            # What the server confirmed is there without it.
            later = Client("ws://127.0.0.1:9/ws", path=path)
            self.assertEqual((later.pending(), later.map("offline").get("a")), (0, {"n": 1, "m": 2}))
            later.close()

    def test_a_clock_that_is_ahead_is_corrected(self) -> None:
        ada = self.client()
        with ada.lock_state() as engine:
            engine._offset = 3_600_000
        ada.map("skewed").set("a", 1)
        ada.map("skewed").set("a", 2)
        ada.connect()
        self.assertTrue(ada.wait_synced())
        self.assertEqual((ada.map("skewed").get("a"), ada.rejected()), (2, []))

    def test_what_is_refused_for_good_is_told(self) -> None:
        ada = self.client()
        told: List[str] = []
        ada.on_rejected = lambda rejection: told.append(rejection.code)
        ada.map("todos").update("nobody", {"a": 1})
        ada.map("$sys/x").set("a", 1)
        ada.connect()
        self.until(ada, lambda: len(told) == 2)
        self.assertEqual(sorted(told), ["FORBIDDEN", "NOT_FOUND"])
        self.assertEqual(ada.map("$sys/x").refused(), "FORBIDDEN")
        self.assertTrue(ada.wait_synced())

    def test_a_live_query(self) -> None:
        ada = self.client().connect()
        rows = ada.map("rows")
        for key, n in (("a", 3), ("b", 1), ("c", 2)):
            rows.set(key, {"n": n})
        live = ada.query("rows", {"n": {"$gt": 1}}, sort={"n": "desc"})
        bad = ada.query("rows", {"n": {"$near": 1}})
        self.until(ada, lambda: [key for key, _ in live.rows()] == ["a", "c"])
        rows.update("b", {"n": 9})
        rows.remove("c")
        self.until(ada, lambda: [key for key, _ in live.rows()] == ["b", "a"])
        self.until(ada, lambda: bad.error is not None)
        self.assertEqual(bad.error and bad.error.code, "BAD_QUERY")

    def test_a_topic_and_a_lock(self) -> None:
        ada, bob = self.client().connect(), self.client().connect()
        self.until(ada, lambda: ada.connected)
        self.until(bob, lambda: bob.connected)
        heard: List[Any] = []
        bob.subscribe("chat", lambda data, _publisher: heard.append(data))
        with bob.lock("job", ttl_ms=5_000) as first:  # its answer comes after the subscription was taken
            with self.assertRaises(SynclineError) as refused:
                ada.lock("job", wait_ms=0)
            self.assertEqual(refused.exception.code, "TIMEOUT")
            first.extend()
        ada.publish("chat", {"text": "hello"})
        self.until(bob, lambda: heard == [{"text": "hello"}])
        with ada.lock("job") as second:
            self.assertGreater(second.token, first.token)
            ada.map("fenced").set("a", 1, fence=second)
            ada.map("fenced").set("b", 1, fence=first)
            self.until(ada, lambda: [rejection.code for rejection in ada.rejected()] == ["STALE_TOKEN"])

    def test_polling_meets_the_others(self) -> None:
        parts = urlsplit(URL)
        poller = Poller(f"http://{parts.netloc}/sync", token=TOKEN)
        ada = self.client().connect()
        shared = ada.map("polled")
        shared.set("a", {"n": 1})
        self.assertTrue(ada.wait_synced())
        poller.follow("polled")
        poller.sync()
        self.assertEqual(poller.get("polled", "a"), {"n": 1})
        poller.update("polled", "a", {"m": 2})
        poller.set("polled", "b", {"n": 5})
        self.assertEqual(poller.get("polled", "a"), {"n": 1, "m": 2})
        poller.sync()
        self.assertEqual((poller.pending(), poller.rejected), (0, []))
        self.until(ada, lambda: shared.get("a") == {"n": 1, "m": 2} and shared.get("b") == {"n": 5})
        shared.remove("b")
        self.assertTrue(ada.wait_synced())
        poller.sync()
        self.assertEqual((poller.get("polled", "a"), poller.get("polled", "b")), ({"n": 1, "m": 2}, None))
        self.assertEqual(poller.query("polled", {"n": 1}), [("a", {"n": 1, "m": 2})])
        with self.assertRaises(SynclineError) as refused:
            Poller(f"http://{parts.netloc}/sync", token="nobody").sync()
        self.assertEqual(refused.exception.code, "UNAUTHORIZED")

    def test_a_poller_whose_clock_is_ahead(self) -> None:
        poller = Poller(f"http://{urlsplit(URL).netloc}/sync", token=TOKEN)
        poller._offset = 3_600_000
        poller.set("polled", "late", 1)
        poller.set("polled", "late", 2)
        poller.sync()
        self.assertEqual((poller.pending(), poller.rejected, poller.get("polled", "late")), (0, [], 2))

    def test_without_a_token_nothing_is_sent(self) -> None:
        nobody = Client(URL, token="nobody")
        self.addCleanup(nobody.close)
        nobody.map("todos").set("x", 1)
        nobody.connect()
        self.until(nobody, lambda: isinstance(nobody.last_error, SynclineError))
        self.assertEqual((nobody.connected, nobody.pending()), (False, 1))


if __name__ == "__main__":
    unittest.main()
