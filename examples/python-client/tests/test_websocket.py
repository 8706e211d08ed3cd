"""The WebSocket client against bytes that a server could send (RFC 6455)."""

from __future__ import annotations

import socket
import struct
import unittest
from typing import List, Tuple

from syncline.websocket import ConnectionEnded, WebSocket


def frame(opcode: int, payload: bytes, final: bool = True, extra: int = 0) -> bytes:
    """A frame as a server sends it."""
    head = bytes(((0x80 if final else 0) | extra | opcode,))
    if len(payload) < 126:
        return head + bytes((len(payload),)) + payload
    if len(payload) < 65_536:
        return head + struct.pack(">BH", 126, len(payload)) + payload
    return head + struct.pack(">BQ", 127, len(payload)) + payload


class Frames(unittest.TestCase):
    """Each test has a pair of sockets, one of which is the server's."""

    def setUp(self) -> None:
        mine, self.server = socket.socketpair()
        mine.settimeout(5)
        self.server.settimeout(5)
        self.client = WebSocket(mine, max_bytes=70_000)
        self.addCleanup(self.server.close)
        self.addCleanup(self.client.abort)

    def sent(self) -> List[Tuple[int, bytes]]:
        """The frames that the client sent, without their masks."""
        data, frames = self.server.recv(400_000), []
        while data:
            self.assertTrue(data[1] & 0x80, "a client masks what it sends")
            length, at = data[1] & 0x7F, 2
            if length > 125:
                size = 2 if length == 126 else 8
                length, at = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
            while len(data) < at + 4 + length:
                data += self.server.recv(400_000)
            mask, body = data[at : at + 4], data[at + 4 : at + 4 + length]
            frames.append((data[0], bytes(byte ^ mask[i % 4] for i, byte in enumerate(body))))
            data = data[at + 4 + length :]
        return frames

    def test_messages_of_all_lengths(self) -> None:
        for length in (0, 1, 125, 126, 65_535, 65_536):
            text = "ä" * (length // 2) + "x" * (length % 2)
            self.server.sendall(frame(1, text.encode()))
            self.assertEqual(self.client.receive(5), text)
            self.client.send_text(text)
            self.assertEqual(self.sent(), [(0x81, text.encode())])

    def test_fragments_with_a_ping_between_them(self) -> None:
        text = "ключ".encode()
        self.server.sendall(frame(1, text[:3], final=False) + frame(9, b"hi") + frame(0, text[3:5], final=False))
        self.assertIsNone(self.client.receive(0.01))
        self.server.sendall(frame(0, text[5:]))
        self.assertEqual(self.client.receive(5), "ключ")
        self.assertEqual(self.sent(), [(0x8A, b"hi")])

    def test_a_frame_that_comes_byte_by_byte(self) -> None:
        for byte in frame(2, b"abc"):
            self.assertIsNone(self.client.receive(0))
            self.server.sendall(bytes((byte,)))
        self.assertEqual(self.client.receive(5), b"abc")

    def test_a_close_is_answered_and_told(self) -> None:
        self.server.sendall(frame(8, struct.pack(">H", 4001) + b"who"))
        with self.assertRaises(ConnectionEnded) as ended:
            self.client.receive(5)
        self.assertEqual((ended.exception.code, ended.exception.reason), (4001, "who"))
        self.assertEqual(self.sent(), [(0x88, struct.pack(">H", 4001))])

    def test_an_end_without_a_word(self) -> None:
        self.server.close()
        with self.assertRaises(ConnectionEnded) as ended:
            self.client.receive(5)
        self.assertEqual(ended.exception.code, 1006)

    def test_what_a_server_may_not_send_ends_the_connection(self) -> None:
        bad = {
            "a reserved bit": (frame(1, b"x", extra=0x40), 1002),
            "an unknown opcode": (frame(3, b"x"), 1002),
            "a mask": (b"\x81\x81\0\0\0\0x", 1002),
            "a continuation of nothing": (frame(0, b"x"), 1002),
            "a message in a message": (frame(1, b"x", final=False) + frame(1, b"x"), 1002),
            "a ping in parts": (frame(9, b"x", final=False), 1002),
            "a long ping": (frame(9, b"x" * 126), 1002),
            "no UTF-8": (frame(1, b"\xff"), 1007),
            "a large frame": (frame(2, b"")[:1] + struct.pack(">BQ", 127, 2**62), 1009),
            "a large message": (frame(2, b"x" * 40_000, final=False) + frame(0, b"x" * 40_000), 1009),
        }
        for name, (data, code) in bad.items():
            with self.subTest(name):
                self.setUp()
                self.server.sendall(data)
                with self.assertRaises(ConnectionEnded) as ended:
                    self.client.receive(5)
                self.assertEqual(ended.exception.code, code)
                self.assertEqual(self.sent()[-1], (0x88, struct.pack(">H", code) + ended.exception.reason.encode()))


if __name__ == "__main__":
    unittest.main()
