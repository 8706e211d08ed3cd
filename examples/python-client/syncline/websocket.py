"""A client of WebSockets (RFC 6455) on a plain socket: what Syncline needs of it, without extensions."""

from __future__ import annotations

import base64
import hashlib
import os
import select
import socket
import ssl
import struct
import time
from typing import Any, List, Optional, Tuple, Union
from urllib.parse import urlsplit

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_MAX_HEAD_BYTES = 65_536


class ConnectionEnded(ConnectionError):
    """The connection is over. ``code`` is the close code, 1006 where none was sent."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason


class WebSocket:
    """An open connection. It is used by one thread."""

    def __init__(self, sock: socket.socket, rest: bytes = b"", max_bytes: int = 67_108_864) -> None:
        self._socket = sock
        self._buffer = bytearray(rest)
        self._max_bytes = max_bytes
        self._parts: List[bytes] = []
        self._parts_bytes = 0
        self._kind = 0
        self._close_sent = False

    @staticmethod
    def connect(url: str, subprotocol: str, timeout: float = 10.0) -> WebSocket:
        """Opens a connection to a ws: or wss: address, within so many seconds."""
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{url} is not an address of a WebSocket: ws://host:port/ws or wss://host/ws.")
        secure = parts.scheme == "wss"
        port = parts.port or (443 if secure else 80)
        sock = socket.create_connection((parts.hostname, port), timeout=timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            rest = _handshake(sock, parts.netloc.rpartition("@")[2], target, subprotocol)
        except BaseException:
            sock.close()
            raise
        return WebSocket(sock, rest)

    def receive(self, timeout: float, wake: Any = None) -> Optional[Union[str, bytes]]:
        """The next message; none where ``timeout`` seconds pass, or ``wake`` can be read, before there is one."""
        end = time.monotonic() + timeout
        while True:
            message = self._from_buffer()
            if message is not None:
                return message
            if not self._wait(max(0.0, end - time.monotonic()), wake):
                return None
            try:
                received = self._socket.recv(262_144)
            except (ssl.SSLWantReadError, socket.timeout):
                continue
            if not received:
                raise ConnectionEnded(1006, "the socket ended")
            self._buffer += received

    def send_text(self, text: str) -> None:
        """Sends one message."""
        self._send(_TEXT, text.encode("utf-8"))

    def close(self, code: int = 1000, reason: str = "", timeout: float = 1.0) -> None:
        """Ends the connection: says so, waits a little for the other side to agree, and closes the socket."""
        try:
            if not self._close_sent:
                self._send_close(code, reason)
                end = time.monotonic() + timeout
                while time.monotonic() < end:
                    self.receive(end - time.monotonic())
        except (OSError, ConnectionEnded):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Ends the connection without a word."""
        self._socket.close()

    def _wait(self, timeout: float, wake: Any) -> bool:
        """Whether something came on the socket, and not on ``wake``, before the time was over."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        watched = [self._socket] if wake is None else [self._socket, wake]
        readable, _, _ = select.select(watched, [], [], timeout)
        return self._socket in readable

    def _from_buffer(self) -> Optional[Union[str, bytes]]:
        while True:
            frame = self._next_frame()
            if frame is None:
                return None
            final, opcode, payload = frame
            if opcode >= _CLOSE:
                self._control(opcode, payload, final)
                continue
            if (opcode == _CONTINUATION) != bool(self._kind):
                self._fail(1002, "a message inside another, or a continuation of none")
            self._kind = self._kind or opcode
            self._parts.append(payload)
            self._parts_bytes += len(payload)
            if self._parts_bytes > self._max_bytes:
                self._fail(1009, "a message is too large")
            if final:
                return self._whole_message()

    def _whole_message(self) -> Union[str, bytes]:
        message, kind = b"".join(self._parts), self._kind
        self._parts, self._parts_bytes, self._kind = [], 0, 0
        if kind == _BINARY:
            return message
        try:
            return message.decode("utf-8")
        except UnicodeDecodeError:
            self._fail(1007, "a text is not UTF-8")
            raise

    def _next_frame(self) -> Optional[Tuple[bool, int, bytes]]:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, length, at = buffer[0] & 0x0F, buffer[1] & 0x7F, 2
        if buffer[0] & 0x70 or buffer[1] & 0x80 or opcode not in (0, 1, 2, 8, 9, 10):
            self._fail(1002, "a frame that a server may not send")
        if length > 125:
            size = 2 if length == 126 else 8
            if len(buffer) < at + size:
                return None
            length = int.from_bytes(buffer[at : at + size], "big")
            at += size
        if length > self._max_bytes:
            self._fail(1009, "a frame is too large")
        if len(buffer) < at + length:
            return None
        frame = (bool(buffer[0] & 0x80), opcode, bytes(buffer[at : at + length]))
        del buffer[: at + length]
        return frame

    def _control(self, opcode: int, payload: bytes, final: bool) -> None:
        if not final or len(payload) > 125:
            self._fail(1002, "a control frame in parts, or too long")
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            reason = payload[2:].decode("utf-8", "replace")
            if not self._close_sent:
                self._send_close(1000 if code == 1005 else code, "")
            raise ConnectionEnded(code, reason)

    def _send(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        head = bytearray((0x80 | opcode,))
        if length < 126:
            head.append(0x80 | length)
        elif length < 65_536:
            head += struct.pack(">BH", 0x80 | 126, length)
        else:
            head += struct.pack(">BQ", 0x80 | 127, length)
        mask = os.urandom(4)
        self._socket.sendall(bytes(head) + mask + _masked(payload, mask))

    def _send_close(self, code: int, reason: str) -> None:
        self._close_sent = True
        self._send(_CLOSE, struct.pack(">H", code) + reason.encode("utf-8")[:120])

    def _fail(self, code: int, reason: str) -> None:
        if not self._close_sent:
            self._send_close(code, reason)
        raise ConnectionEnded(code, reason)


def _masked(payload: bytes, mask: bytes) -> bytes:
    """The payload under a mask, as one sum of large numbers instead of a loop over bytes."""
    if not payload:
        return b""
    pad = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")


def _handshake(sock: socket.socket, host: str, target: str, subprotocol: str) -> bytes:
    """Asks for the upgrade; returns what came after the head of the answer."""
    key = base64.b64encode(os.urandom(16)).decode("ascii")
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {subprotocol}",
    )
    sock.sendall("\r\n".join((*lines, "", "")).encode("ascii"))
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = sock.recv(4_096)
        received += chunk
        if not chunk or len(received) > _MAX_HEAD_BYTES:
            raise ConnectionEnded(1006, "no answer to the handshake")
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    if status.split(" ", 2)[1:2] != ["101"]:
        raise ConnectionEnded(1006, f"the server answered {status}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode("ascii")).digest()).decode("ascii")
    if headers.get("sec-websocket-accept") != accept or headers.get("upgrade", "").lower() != "websocket":
        raise ConnectionEnded(1006, "the server does not speak WebSocket")
    if headers.get("sec-websocket-protocol", subprotocol) != subprotocol or "sec-websocket-extensions" in headers:
        raise ConnectionEnded(1006, "the server chose what was not offered")
    return rest
