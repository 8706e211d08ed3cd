"""One connection after another: how it begins, its heartbeat, and coming back (SE1 to SE6, CR1 to CR3)."""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Protocol, Union

from .messages import CLOSE_CODES, PROTOCOL_VERSION, SUBPROTOCOL
from .values import SynclineError, decode_frame, encode_frame
from .websocket import ConnectionEnded, WebSocket

PING_SECONDS = 5.0
DEAD_SECONDS = 15.0
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0

Message = Dict[str, Any]
Token = Union[None, str, Callable[[], str]]
log = logging.getLogger("syncline")


class Listener(Protocol):
    """What a session tells, and asks for what is to be sent. All of it is called on the thread of the session."""

    def opened(self) -> None: ...
    def closed(self) -> None: ...
    def received(self, message: Message) -> None: ...
    def server_time(self, sent_at: float, answered_at: float, server_time: float) -> None: ...
    def outgoing(self) -> List[Message]: ...
    def due_in(self) -> float: ...


class Session(threading.Thread):
    """Keeps a connection to a server until it is ended. Other threads only ``wake``, ``say`` and ``end``."""

    def __init__(self, url: str, token: Token, listener: Listener) -> None:
        super().__init__(name="syncline", daemon=True)
        self._url, self._token, self._listener = url, token, listener
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._ended = False
        self._outbox: Deque[Message] = deque(maxlen=10_000)
        self._opened = False
        self._failures = 0
        self._come_back_at = self._not_before = 0.0
        #: Why the last connection ended, or could not be made.
        self.last_error: Optional[Exception] = None

    @property
    def is_open(self) -> bool:
        """Whether the client is signed in, and may send anything."""
        return self._opened

    def wake(self) -> None:
        """Makes the session ask for what is to be sent."""
        try:
            self._waker.send(b"\0")
        except (BlockingIOError, OSError):
            pass

    def say(self, message: Message) -> None:
        """Sends a message on this connection, or never."""
        if self._opened:
            self._outbox.append(message)
            self.wake()

    def sign_in(self, token: Token) -> None:
        """Uses another token from the next connection on, which is made at once where there is none."""
        self._token = token
        self._come_back_at = 0.0
        self._failures = 0
        self.wake()

    def end(self) -> None:
        """Ends the connection, and the thread."""
        self._ended = True
        self.wake()

    def release(self) -> None:
        """Lets go of what wakes the thread, once it has ended."""
        self._woken.close()
        self._waker.close()

    def run(self) -> None:
        while not self._ended:
            try:
                self._connection()
            except Exception as error:  # Whatever it was, the client comes back; the application reads why.
                self.last_error = error
                log.info("the connection ended: %s", error)
            finally:
                self._leave()
            self._pause()

    def _pause(self) -> None:
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**self._failures) * random.uniform(0.5, 1.0)
        self._failures = min(self._failures + 1, 20)
        self._come_back_at = time.monotonic() + delay
        while not self._ended:
            left = max(self._come_back_at, self._not_before) - time.monotonic()
            if left <= 0:
                return
            select.select([self._woken], [], [], left)
            self._drain()

    def _connection(self) -> None:
        # Asked for first: a token may need the network, and the server does not wait long for it.
        token = self._token() if callable(self._token) else self._token
        self._outbox.clear()
        self._started_at = _wall()
        self._socket = WebSocket.connect(self._url, SUBPROTOCOL)
        try:
            self._converse(token)
        except (ConnectionEnded, SynclineError) as ended:
            if ended.code in ("UNAUTHORIZED", CLOSE_CODES["UNAUTHORIZED"]):
                self._leave()
                # The same token is not shown again at once (CR1); a function may fetch another.
                self._failures = self._failures if callable(self._token) else 20
            raise
        finally:
            self._socket.abort()

    def _converse(self, token: Optional[str]) -> None:
        now = time.monotonic()
        next_ping, unanswered_since = now + PING_SECONDS, now
        while not self._ended:
            now = time.monotonic()
            if now >= next_ping:
                self._send({"type": "PING", "timestamp": _wall()})
                next_ping = now + PING_SECONDS
                unanswered_since = unanswered_since or now
            if unanswered_since and now - unanswered_since > DEAD_SECONDS:
                raise ConnectionEnded(1006, "the server gives no sign of life")
            if self._opened:
                self._send_all()
            wait = min(next_ping - now, self._listener.due_in() if self._opened else PING_SECONDS)
            frame = self._socket.receive(max(0.0, wait), self._woken)
            self._drain()
            if frame is not None:
                unanswered_since = 0.0
                text = frame if isinstance(frame, str) else frame.decode("utf-8")
                self._take(decode_frame(text), token)
        self._socket.close()

    def _take(self, message: Any, token: Optional[str]) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise SynclineError("INVALID_REQUEST", "The server sent what is no message.")
        kind = message["type"]
        if kind == "AUTH_REQUIRED":
            self._listener.server_time(self._started_at, _wall(), message["serverTime"])
            if token is not None:
                self._asked_at = _wall()
                self._send({"type": "AUTH", "token": token, "protocolVersion": PROTOCOL_VERSION})
            elif message.get("optional"):
                self._open()
        elif kind == "AUTH_ACK":
            self._listener.server_time(self._asked_at, _wall(), message["serverTime"])
            self._open()
        elif kind == "AUTH_FAIL":
            raise SynclineError("UNAUTHORIZED", str(message.get("error")))
        elif kind == "PONG":
            self._listener.server_time(message["timestamp"], _wall(), message["serverTime"])
        elif kind == "SHUTDOWN_PENDING":
            self._not_before = time.monotonic() + message["retryAfter"] / 1000
        elif self._opened:
            self._listener.received(message)

    def _open(self) -> None:
        if not self._opened:
            self._opened = True
            self._opened_at = time.monotonic()
            self._send({"type": "PING", "timestamp": _wall()})
            self._listener.opened()

    def _leave(self) -> None:
        if self._opened:
            self._opened = False
            if time.monotonic() - self._opened_at > PING_SECONDS:
                self._failures = 0  # One that ends at once, again and again, is a failure too.
            self._listener.closed()

    def _send_all(self) -> None:
        while self._outbox:
            self._send(self._outbox.popleft())
        for message in self._listener.outgoing():
            self._send(message)

    def _send(self, message: Message) -> None:
        self._socket.send_text(encode_frame(message))

    def _drain(self) -> None:
        while select.select([self._woken], [], [], 0)[0]:
            self._woken.recv(4_096)


def _wall() -> int:
    """Milliseconds since 1970 by the clock of this machine."""
    return int(time.time() * 1000)
