"""The golden vectors that concern a client which speaks JSON and keeps copies of maps."""

from __future__ import annotations

import json
import unittest
from typing import Any

from syncline import digests, records
from syncline.messages import CLOSE_CODES, RETRYABLE
from syncline.queries import in_order
from syncline.stamps import Clock, Stamp, clock_offset, is_ahead
from syncline.values import SynclineError, canonical, copy_value, decode_frame, encode_frame, same, sort_key

from .vectors import FOLDER, cases


def value_of(parsed: Any) -> Any:
    """A value in a vector, which is in the form of a JSON frame."""
    return decode_frame(json.dumps(parsed))


class Vectors(unittest.TestCase):
    """Each test runs one file; a failing case is shown by its place."""

    maxDiff = None

    def each(self, name: str) -> Any:
        for at, case in enumerate(cases(name)):
            self.place = f"{name}.json, case {at}: {case.get('name', '')}"
            yield case

    def _formatMessage(self, msg: Any, standardMsg: str) -> str:
        return f"{getattr(self, 'place', '')}: {super()._formatMessage(msg, standardMsg)}"

    def test_values(self) -> None:
        for case in self.each("values"):
            value = decode_frame(case["json"])
            self.assertEqual(encode_frame(value), case["json"])
            self.assertEqual(canonical(value).hex(), case["canonical"])
            self.assertTrue(same(copy_value(value), value))

    def test_other_forms(self) -> None:
        for case in self.each("other-forms"):
            if "json" in case:
                self.assertTrue(same(decode_frame(case["json"]), decode_frame(case["means"])))

    def test_refused_frames(self) -> None:
        for case in self.each("refused-frames"):
            if "json" in case:
                with self.assertRaises(SynclineError) as refused:
                    decode_frame(case["json"])
                self.assertEqual(refused.exception.code, case["errorCode"])

    def test_orders(self) -> None:
        for case in self.each("orders"):
            key = canonical if case["rules"] == "CV4" else sort_key
            values = [value_of(value) for value in case["ascending"]]
            # Values that are equal in an order may stand in either order.
            self.assertEqual([key(v) for v in values], sorted(key(v) for v in values))
            self.assertEqual([key(v) for v in values], sorted(key(v) for v in reversed(values)))

    def test_messages_survive_a_round_trip(self) -> None:
        for file in sorted((FOLDER / "messages").glob("*.json")):
            for case in self.each(f"messages/{file.stem}"):
                message = decode_frame(case["json"])
                self.assertEqual(message["type"], case["name"])
                self.assertEqual(encode_frame(message), case["json"])

    def test_stamps(self) -> None:
        for case in self.each("stamps"):
            stamp = Stamp.from_text(case["text"])
            self.assertEqual(stamp and stamp.to_wire(), case["stamp"])
            if stamp is not None:
                self.assertEqual(stamp.to_text(), case["text"])
                self.assertEqual(Stamp.from_wire(case["stamp"]), stamp)

    def test_stamp_order(self) -> None:
        for case in self.each("stamp-order"):
            stamps = [Stamp.from_wire(stamp) for stamp in case["ascending"]]
            self.assertEqual(sorted(reversed(stamps), key=lambda stamp: stamp.order), stamps)

    def test_clocks(self) -> None:
        for case in self.each("clocks"):
            latest = case["latest"]
            clock = Clock(latest["millis"], latest["counter"]) if latest else Clock()
            for step in case["steps"]:
                observed = step.get("observe")
                if observed:
                    try:
                        stamp = Stamp.from_wire({"nodeId": "other", **observed})
                        clock.observe(stamp.millis, stamp.counter, step["wall"])
                    except SynclineError:
                        pass  # A stamp whose numbers are not whole is ignored.
                else:
                    clock.issue(step["wall"])
                want = step["latest"]
                got = None if clock.counter < 0 else {"millis": clock.millis, "counter": clock.counter}
                self.assertEqual(got, want and {"millis": want["millis"], "counter": want["counter"]})

    def test_drift(self) -> None:
        for case in self.each("drift"):
            self.assertEqual(is_ahead(case["millis"], case["wall"], case["maxDriftMs"]), case["isAhead"])

    def test_clock_offsets(self) -> None:
        for case in self.each("clock-offsets"):
            self.assertEqual(clock_offset(case["sentAt"], case["answeredAt"], case["serverTime"]), case["offset"])

    def test_records(self) -> None:
        for case in self.each("records"):
            record = records.from_wire(value_of(case["received"]))
            self.assertEqual(records.to_wire(record), value_of(case["sent"]))
            self.assertEqual(records.from_wire(records.to_wire(record)), record)
            self.assertEqual(digests.record_bytes(case["key"], record).hex(), case["canonical"])
            self.assertEqual(digests.text_of(digests.digest_of_record(case["key"], record)), case["digest"])

    def test_merges(self) -> None:
        for case in self.each("merges"):
            a, b = records.from_wire(value_of(case["a"])), records.from_wire(value_of(case["b"]))
            merged = value_of(case["merged"])
            for one, other in ((a, b), (b, a)):
                result = records.merge(one, other)
                self.assertTrue(same(records.to_wire(result), merged), (records.to_wire(result), merged))
                self.assertEqual(records.merge(result, one), result)

    def test_writes(self) -> None:
        for case in self.each("writes"):
            record = None
            for op in case["ops"]:
                stamp, value = Stamp.from_wire(op["timestamp"]), value_of(op["value"])
                if op["opType"] == "PATCH":
                    record = records.patch(record, value or {}, op.get("unset", ()), stamp)
                else:
                    record = records.put(record, value if op["opType"] == "PUT" else None, stamp, op.get("ttlMs"))
            self.assertTrue(same(record and records.to_wire(record), value_of(case["record"])), record)

    def test_visibility(self) -> None:
        for case in self.each("visibility"):
            record = records.from_wire(value_of(case["record"]))
            self.assertEqual(record.is_visible(case["now"]), case["isVisible"])
            self.assertEqual(record.is_expired(case["now"]), case["isExpired"])

    def test_hashes(self) -> None:
        for case in self.each("hashes"):
            self.assertEqual(digests.hash_of_key(case["text"]), case["hash"])
            self.assertEqual(digests.path_of_key(case["text"]), case["path"])
            self.assertEqual(digests.partition_of_key(case["text"]), case["partition"])

    def test_mixes(self) -> None:
        for case in self.each("mixes"):
            if "input" in case:
                self.assertEqual(digests.fmix32(case["input"]), case["fmix32"])
            else:
                self.assertEqual(digests.murmur3(bytes.fromhex(case["bytes"])), case["murmur3"])

    def test_tries(self) -> None:
        for case in self.each("tries"):
            trie = digests.Trie((row["key"], records.from_wire(value_of(row["record"]))) for row in case["records"])
            self.assertEqual(trie.digest(), case["digest"])
            self.assertEqual(digests.text_of(trie.node("")), case["digest"])
            self.assertEqual(trie.node("")[0], case["rootHash"])
            for node in case["nodes"]:
                children = trie.children(node["path"])
                self.assertEqual({digit: lanes[0] for digit, lanes in children.items()}, node["buckets"])
                self.assertEqual({d: digests.text_of(lanes) for d, lanes in children.items()}, node["digests"])

    def test_sorts(self) -> None:
        for case in self.each("sorts"):
            rows = {row["key"]: value_of(row["value"]) for row in case["rows"]}
            self.assertEqual([key for key, _ in in_order(rows, case["sort"])], case["keys"])

    def test_errors(self) -> None:
        retryable = {case["errorCode"] for case in cases("errors") if case["retryable"]}
        self.assertEqual(set(RETRYABLE), retryable)

    def test_close_codes(self) -> None:
        known = {case["code"] for case in cases("close-codes")}
        self.assertLessEqual(set(CLOSE_CODES.values()), known)


if __name__ == "__main__":
    unittest.main()
