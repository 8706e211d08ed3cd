"""Where a client keeps its maps and its pending writes: a file of SQLite, or memory."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import contextmanager
from typing import Dict, Iterable, Iterator, List, Tuple

from . import records
from .replica import Op, Replica
from .stamps import Stamp
from .values import SynclineError, decode_frame, encode_frame

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS maps (name TEXT PRIMARY KEY, cursor TEXT, seq INTEGER, whole INTEGER, was_reset INTEGER);
CREATE TABLE IF NOT EXISTS base (map TEXT, key TEXT, seq INTEGER, record TEXT, PRIMARY KEY (map, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS overlay (id TEXT PRIMARY KEY, known INTEGER, sent INTEGER, op TEXT NOT NULL);
"""


class Store:
    """One file belongs to one client at a time: two would share a node id (CR5)."""

    def __init__(self, path: str = ":memory:") -> None:
        self._db = sqlite3.connect(path, timeout=0.2, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._db.close()
            raise SynclineError("CONFLICT", f"{os.path.basename(path)} is open in another process ({error}).") from None
        self._db.executescript(_TABLES)
        about = dict(self._db.execute("SELECT name, value FROM about"))
        self.node_id: str = about.get("nodeId") or f"py-{uuid.uuid4().hex[:16]}"
        self.clock = Stamp.from_text(about.get("clock", "")) or Stamp(0, 0, "")
        self.heard = Stamp.from_text(about.get("heard", "")) or Stamp(0, 0, "")
        self._about("nodeId", self.node_id)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is stored inside of it is stored, or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def load(self) -> Tuple[Dict[str, Replica], List[Op]]:
        """The maps, and the writes that wait, in the order of their stamps."""
        replicas: Dict[str, Replica] = {}
        for name, cursor, seq, whole, was_reset in self._db.execute("SELECT * FROM maps"):
            replica = replicas[name] = Replica(name)
            replica.cursor, replica.seq, replica.whole, replica.was_reset = cursor, seq, bool(whole), bool(was_reset)
        for name, key, seq, record in self._db.execute("SELECT map, key, seq, record FROM base"):
            replicas[name].merge([(key, records.from_wire(decode_frame(record)), seq)])
        rows = self._db.execute("SELECT known, sent, op FROM overlay")
        ops = [Op.from_wire(decode_frame(op), bool(known), bool(sent)) for known, sent, op in rows]
        return replicas, sorted(ops, key=lambda op: op.stamp.order)

    def save_clock(self, clock: Stamp, heard: Stamp) -> None:
        """Keeps the clock, so that stamps rise across restarts."""
        self._about("clock", clock.to_text())
        self._about("heard", heard.to_text())

    def save_map(self, replica: Replica, changed: Iterable[str] = ()) -> None:
        """Keeps the position of a map, and those of its records that changed."""
        row = (replica.name, replica.cursor, replica.seq, replica.whole, replica.was_reset)
        self._db.execute("INSERT OR REPLACE INTO maps VALUES (?, ?, ?, ?, ?)", row)
        for key in changed:
            record = replica.base.get(key)
            if record is None:
                self._db.execute("DELETE FROM base WHERE map = ? AND key = ?", (replica.name, key))
            else:
                text = encode_frame(records.to_wire(record))
                entry = (replica.name, key, replica.seqs[key], text)
                self._db.execute("INSERT OR REPLACE INTO base VALUES (?, ?, ?, ?)", entry)

    def clear_map(self, replica: Replica) -> None:
        """Forgets the base of a map."""
        self._db.execute("DELETE FROM base WHERE map = ?", (replica.name,))
        self.save_map(replica)

    def save_op(self, op: Op) -> None:
        """Keeps a pending write."""
        row = (op.id, op.known, op.sent, encode_frame(op.to_wire()))
        self._db.execute("INSERT OR REPLACE INTO overlay VALUES (?, ?, ?, ?)", row)

    def drop_op(self, op: Op) -> None:
        """Forgets a write that the server has confirmed, or refused for good."""
        self._db.execute("DELETE FROM overlay WHERE id = ?", (op.id,))

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def _about(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))
