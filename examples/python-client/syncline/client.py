"""The client: maps that work offline, live queries, topics and locks over one WebSocket."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

from .engine import Engine, Rejection
from .queries import LiveQuery
from .session import Message, Session, Token
from .store import Store
from .values import SynclineError, Value, copy_value

Change = Callable[[str], None]
Hear = Callable[[Value, Optional[str]], None]


class Map:
    """One map. Reads and writes need no connection."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def get(self, key: str) -> Value:
        """The value of a key; None where there is none."""
        with self._client.lock_state() as engine:
            record = engine.follow(self.name).record(key)
            return copy_value(record.value) if record and record.is_visible(engine.now()) else None

    def items(self) -> List[Tuple[str, Value]]:
        """All keys with their values, by key."""
        with self._client.lock_state() as engine:
            keys = sorted(engine.follow(self.name).keys())
            return [(key, value) for key in keys for value in (self.get(key),) if value is not None]

    def set(self, key: str, value: Value, *, ttl_ms: Optional[float] = None, fence: Optional[Lock] = None) -> None:
        """Writes a whole value."""
        self._client.write(self.name, key, "PUT", value, ttl_ms=ttl_ms, fence=fence and fence.fence())

    def update(self, key: str, fields: Dict[str, Value], unset: Iterable[str] = ()) -> None:
        """Writes some fields, and removes others; what others write to other fields stays."""
        self._client.write(self.name, key, "PATCH", fields, unset=unset)

    def remove(self, key: str) -> None:
        """Removes a key."""
        self._client.write(self.name, key, "REMOVE", None)

    def on_change(self, listener: Change) -> None:
        """Calls a function with each key that changed, on the thread of the connection or of the writer."""
        self._client.listen(self.name, listener)

    def refused(self) -> Optional[str]:
        """The code by which the server refused to let this map be followed, if it did."""
        with self._client.lock_state() as engine:
            return engine.follow(self.name).refused


class Lock:
    """A lease with a fencing token (LK1 to LK9). It is over with the connection that took it."""

    def __init__(self, client: Client, name: str, token: int, ttl_ms: float) -> None:
        self._client, self.name, self.token, self.ttl_ms = client, name, token, ttl_ms

    def fence(self) -> Dict[str, Any]:
        """What a write carries so that it fails once another has the lock."""
        return {"name": self.name, "token": self.token}

    def extend(self, ttl_ms: Optional[float] = None) -> None:
        """Makes the lease last from now on. Raises STALE_TOKEN where it was lost."""
        payload = {"name": self.name, "fencingToken": self.token, "ttl": ttl_ms or self.ttl_ms}
        self.ttl_ms = self._client.ask("LOCK_REQUEST", payload, 10.0)["ttl"]

    def release(self) -> None:
        """Gives the lock back."""
        try:
            self._client.ask("LOCK_RELEASE", {"name": self.name, "fencingToken": self.token}, 10.0)
        except SynclineError as error:
            if error.code != "STALE_TOKEN":
                raise

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Client:
    """A client of one server.

    ``token`` is a token, a function that fetches one, or None where the server asks for none. ``path`` is a file in
    which maps and pending writes are kept; without one they live in memory.
    """

    def __init__(self, url: str, *, token: Token = None, path: str = ":memory:") -> None:
        self._store = Store(path)
        self._engine = Engine(self._store)
        self._state = threading.Condition(threading.RLock())
        self._session = Session(url, token, self)
        self._listeners: Dict[str, List[Change]] = {}
        self._queries: Dict[str, LiveQuery] = {}
        self._topics: Dict[str, List[Hear]] = {}
        self._waiting: Dict[str, Optional[Message]] = {}
        self._count = 0
        #: Called with each write that was refused for good.
        self.on_rejected: Optional[Callable[[Rejection], None]] = None
        self._told = 0

    # The connection.

    def connect(self) -> Client:
        """Connects, and comes back by itself until ``close``. Does not wait."""
        self._session.start()
        return self

    def sign_in(self, token: Token) -> None:
        """Uses another token from the next connection on."""
        self._session.sign_in(token)

    def close(self) -> None:
        """Ends the connection. What was not sent is in the file, if there is one."""
        if self._session.is_alive():
            self._session.end()
            self._session.join(5.0)
        self._session.release()
        self._store.close()

    def __enter__(self) -> Client:
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether the client is signed in."""
        return self._session.is_open

    @property
    def last_error(self) -> Optional[Exception]:
        """Why the last connection ended, or could not be made."""
        return self._session.last_error

    def pending(self) -> int:
        """How many writes the server has not confirmed."""
        with self._state:
            return len(self._engine.pending)

    def rejected(self) -> List[Rejection]:
        """The writes that were refused for good, in order."""
        with self._state:
            return list(self._engine.rejected)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Waits until a condition holds; false where it does not in time."""
        end = time.monotonic() + seconds
        with self._state:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                # A value may expire without anything coming.
                self._state.wait(min(left, 0.5))
            return True

    def wait_synced(self, seconds: float = 10.0) -> bool:
        """Waits until every write is confirmed and every map is here."""
        return self.wait_until(lambda: self.connected and not self._engine.pending and self._is_here(), seconds)

    # What an application uses.

    def map(self, name: str) -> Map:
        """A map, which is followed from now on."""
        with self._state:
            self._engine.follow(name)
        self._session.wake()
        return Map(self, name)

    def query(
        self,
        map_name: str,
        where: Optional[Dict[str, Any]] = None,
        *,
        sort: Optional[Dict[str, str]] = None,
        limit: int = 0,
        on_change: Optional[Callable[[], None]] = None,
    ) -> LiveQuery:
        """A live query that the server answers: it needs a connection, and sees what is confirmed."""
        query: Dict[str, Any] = {"where": where or {}}
        if sort:
            query["sort"] = sort
        if limit:
            query["limit"] = limit
        with self._state:
            live = LiveQuery(self._next("q"), map_name, query, on_change)
            self._queries[live.id] = live
            self._session.say(live.subscription())
        return live

    def end_query(self, live: LiveQuery) -> None:
        """Ends a live query."""
        with self._state:
            self._queries.pop(live.id, None)
        self._session.say({"type": "QUERY_UNSUB", "payload": {"queryId": live.id}})

    def subscribe(self, topic: str, listener: Hear) -> None:
        """Calls a function with data and publisher of each message of a topic, at most once."""
        with self._state:
            self._topics.setdefault(topic, []).append(listener)
        self._session.say({"type": "TOPIC_SUB", "payload": {"topic": topic}})

    def publish(self, topic: str, data: Value) -> bool:
        """Publishes to whoever is subscribed now; false where there is no connection."""
        self._session.say({"type": "TOPIC_PUB", "payload": {"topic": topic, "data": copy_value(data)}})
        return self.connected

    def lock(
        self, name: str, *, ttl_ms: float = 10_000, wait_ms: Optional[float] = None, seconds: float = 60.0
    ) -> Lock:
        """Takes a lock: ``with client.lock('invoice:42') as lock``. TIMEOUT where it is not granted in time."""
        payload: Dict[str, Any] = {"name": name, "ttl": ttl_ms}
        if wait_ms is not None:
            payload["waitMs"] = wait_ms
        granted = self.ask("LOCK_REQUEST", payload, seconds)
        return Lock(self, name, granted["fencingToken"], granted["ttl"])

    # What maps and locks use.

    def lock_state(self) -> _Held:
        """The state, for as long as a ``with`` lasts."""
        return _Held(self._state, self._engine)

    def write(self, map_name: str, key: str, op_type: str, value: Value, **more: Any) -> None:
        """Keeps a write and sends it when it can be."""
        with self._state:
            self._engine.write(map_name, key, op_type, value, **more)
        self._session.wake()
        self._tell()

    def listen(self, map_name: str, listener: Change) -> None:
        """Adds a listener of a map."""
        with self._state:
            self._listeners.setdefault(map_name, []).append(listener)

    def ask(self, kind: str, payload: Dict[str, Any], seconds: float) -> Dict[str, Any]:
        """Sends a message that carries an id, and returns the payload of its answer."""
        with self._state:
            request_id = self._next("r")
            self._waiting[request_id] = None
            try:
                if not self.connected:
                    raise SynclineError("OVERLOADED", "There is no connection; a lock needs one.")
                asked = {"requestId": request_id, **payload}
                self._session.say({"type": kind, "requestId": request_id, "payload": asked})
                answered = self.wait_until(lambda: self._waiting.get(request_id, {}) is not None, seconds)
                answer = self._waiting.get(request_id)
            finally:
                self._waiting.pop(request_id, None)
        if answer is None:
            if kind == "LOCK_REQUEST" and not answered and "fencingToken" not in payload:
                given_up = {"requestId": request_id, "name": payload["name"]}
                self._session.say({"type": "LOCK_RELEASE", "payload": given_up})
            raise SynclineError("TIMEOUT", f"{kind} was not answered in {seconds} s, or the connection ended.")
        if answer["type"] == "ERROR" or answer["payload"].get("success") is False:
            refusal = answer["payload"]
            text = refusal.get("message") or refusal.get("error") or ""
            raise SynclineError(refusal["errorCode"], text, refusal.get("details"))
        return answer["payload"]

    # What the session calls.

    def opened(self) -> None:
        with self._state:
            self._engine.opened()
            for live in self._queries.values():
                self._session.say(live.subscription())
            for topic in self._topics:
                self._session.say({"type": "TOPIC_SUB", "payload": {"topic": topic}})
            self._state.notify_all()

    def closed(self) -> None:
        with self._state:
            self._engine.closed()
            # Whoever waits for an answer learns that it will not come.
            self._waiting.clear()
            self._state.notify_all()

    def server_time(self, sent_at: float, answered_at: float, server_time: float) -> None:
        with self._state:
            self._engine.server_time(sent_at, answered_at, server_time)

    def outgoing(self) -> List[Message]:
        with self._state:
            return self._engine.outgoing()

    def due_in(self) -> float:
        with self._state:
            return self._engine.due_in()

    def received(self, message: Message) -> None:
        calls: List[Callable[[], None]] = []
        with self._state:
            self._engine.received(message)
            self._route(message, calls)
            self._state.notify_all()
        for call in calls:
            call()
        self._tell()

    def _route(self, message: Message, calls: List[Callable[[], None]]) -> None:
        kind, payload = message["type"], message.get("payload") or {}
        live = self._queries.get(payload.get("queryId") or message.get("requestId") or "")
        if kind in ("QUERY_RESP", "QUERY_UPDATE") and live is not None:
            whole = live.take_result(payload) if kind == "QUERY_RESP" else live.take_update(payload)
            if whole and live.on_change:
                calls.append(live.on_change)
        elif kind == "TOPIC_MESSAGE":
            data, publisher = payload["data"], payload.get("publisherId")
            calls += [_call(listener, data, publisher) for listener in self._topics.get(payload["topic"], ())]
        elif kind in ("LOCK_GRANTED", "LOCK_RELEASED", "ERROR"):
            request_id = payload.get("requestId") or message.get("requestId")
            if request_id in self._waiting:
                self._waiting[request_id] = message
            elif kind == "ERROR" and live is not None:
                live.error = SynclineError(payload["errorCode"], payload.get("message", ""), payload.get("details"))

    def _tell(self) -> None:
        """Calls listeners of what changed, without holding the state."""
        with self._state:
            changed, self._engine.changed = self._engine.changed, set()
            rejections = self._engine.rejected[self._told :]
            self._told += len(rejections)
            calls = [(listener, key) for name, key in sorted(changed) for listener in self._listeners.get(name, ())]
        for listener, key in calls:
            listener(key)
        for rejection in rejections:
            if self.on_rejected:
                self.on_rejected(rejection)

    def _is_here(self) -> bool:
        return all(replica.here or replica.refused for replica in self._engine.replicas.values())

    def _next(self, letter: str) -> str:
        self._count += 1
        return f"{letter}-{self._count}"


class _Held:
    def __init__(self, state: threading.Condition, engine: Engine) -> None:
        self._state, self._engine = state, engine

    def __enter__(self) -> Engine:
        self._state.acquire()
        return self._engine

    def __exit__(self, *_: object) -> None:
        self._state.release()


def _call(listener: Hear, data: Value, publisher: Optional[str]) -> Callable[[], None]:
    return lambda: listener(data, publisher)
