"""Values, their canonical bytes, and the JSON frames in which they travel.

Rules CV1 to CV4 and QY8 of the core specification; FR4 to FR10 of the protocol.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from typing import Any, Dict, List, Tuple

#: null, a boolean, a number, a text, bytes, a list or a map from texts to values.
Value = Any

MAX_VALUE_DEPTH = 32
MAX_FRAME_DEPTH = 40
RESERVED_NAMES = frozenset(("__proto__", "constructor", "prototype"))

_BYTES_TAG = re.compile(r"\$+bytes\Z")


class SynclineError(Exception):
    """A refusal, by this client or by the server. ``code`` is a symbolic code of the table of errors."""

    def __init__(self, code: str, message: str, details: Dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.details = details or {}


def utf16(text: str) -> bytes:
    """The code units of a text: comparing these bytes is the order by code unit."""
    return text.encode("utf-16-be", "surrogatepass")


def check_name(name: Any) -> str:
    """A name that a map may hold, or BAD_KEY."""
    if not isinstance(name, str) or name in RESERVED_NAMES or not _is_text(name):
        raise SynclineError("BAD_KEY", f"{name!r} is not a name that a map can hold.")
    return name


def copy_value(value: Value, depth: int = MAX_VALUE_DEPTH) -> Value:
    """A copy that shares nothing with what was given. What is no value is refused (CV1)."""
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, str):
        if not _is_text(value):
            raise SynclineError("BAD_VALUE", "A text holds U+0000 or half a surrogate pair.")
        return value
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if not isinstance(value, (list, tuple, dict)):
        raise SynclineError("BAD_VALUE", f"{type(value).__name__} is not a type of values.")
    if depth == 0:
        raise SynclineError("TOO_DEEP", f"Values nest at most {MAX_VALUE_DEPTH} deep.")
    if isinstance(value, dict):
        return {check_name(name): copy_value(member, depth - 1) for name, member in value.items()}
    return [copy_value(member, depth - 1) for member in value]


def canonical(value: Value) -> bytes:
    """The canonical bytes of a value (CV2)."""
    out: List[bytes] = []
    _write_canonical(value, out)
    return b"".join(out)


def canonical_text(text: str) -> bytes:
    """A text as canonical bytes write it: its length in bytes, then its UTF-8."""
    encoded = text.encode("utf-8")
    return struct.pack(">I", len(encoded)) + encoded


def same(a: Value, b: Value) -> bool:
    """Whether two values are the same (CV3). Python takes ``True`` and ``1`` for equal; values do not."""
    return canonical(a) == canonical(b)


def sort_key(value: Value) -> Tuple[int, Any]:
    """The order of all values in a query (QY8), as a key for ``sorted``."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, (int, float)):
        return (2, value)
    if isinstance(value, str):
        return (3, utf16(value))
    if isinstance(value, bytes):
        return (4, value)
    return (6 if isinstance(value, dict) else 5, canonical(value))


def encode_frame(message: Value) -> str:
    """A message as the text of a JSON frame (FR1, FR4, FR5)."""
    return json.dumps(_to_json(message), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def decode_frame(text: str) -> Value:
    """What a JSON frame holds. Raises PARSE_ERROR, TOO_DEEP or BAD_VALUE."""
    try:
        # A byte order mark at the beginning is no part of a JSON text.
        parsed = json.loads(text, parse_int=_integer, parse_constant=_no_constant)
    except RecursionError:
        raise SynclineError("TOO_DEEP", "The frame nests too deep.") from None
    except ValueError as error:
        raise SynclineError("PARSE_ERROR", f"The frame is not one JSON text: {error}.") from None
    return _from_json(parsed, MAX_FRAME_DEPTH)


def _is_text(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _number(value: int | float) -> int | float:
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double) or double != value:
        raise SynclineError("BAD_VALUE", f"{value!r} is not a number that a double holds.")
    # Whole numbers are written as such, and minus zero is zero (FR10).
    return int(double) if double.is_integer() and abs(double) < 1e21 else double


def _write_canonical(value: Value, out: List[bytes]) -> None:
    if value is None:
        out.append(b"\0")
    elif value is False:
        out.append(b"\1")
    elif value is True:
        out.append(b"\2")
    elif isinstance(value, (int, float)):
        out.append(b"\3" + struct.pack(">d", value or 0.0))
    elif isinstance(value, str):
        out.append(b"\4" + canonical_text(value))
    elif isinstance(value, bytes):
        out.append(b"\5" + struct.pack(">I", len(value)) + value)
    elif isinstance(value, list):
        out.append(b"\6" + struct.pack(">I", len(value)))
        for member in value:
            _write_canonical(member, out)
    elif isinstance(value, dict):
        out.append(b"\7" + struct.pack(">I", len(value)))
        for name in sorted(value, key=utf16):
            out.append(canonical_text(name))
            _write_canonical(value[name], out)
    else:
        raise SynclineError("BAD_VALUE", f"{type(value).__name__} is not a type of values.")


def _to_json(value: Value) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return [_to_json(member) for member in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((name, member),) = value.items()
            if _BYTES_TAG.match(name):
                return {"$" + name: _to_json(member)}
        return {name: _to_json(member) for name, member in value.items()}
    return value


def _from_json(parsed: Any, depth: int) -> Value:
    if isinstance(parsed, float):
        # An exponent may stand for a whole number, for minus zero, or for more than a double holds.
        return _number(parsed)
    if not isinstance(parsed, (list, dict)):
        return parsed
    if depth == 0:
        raise SynclineError("TOO_DEEP", f"Frames nest at most {MAX_FRAME_DEPTH} deep.")
    if isinstance(parsed, list):
        return [_from_json(member, depth - 1) for member in parsed]
    if len(parsed) == 1:
        ((name, member),) = parsed.items()
        if name == "$bytes":
            return _from_base64(member)
        if _BYTES_TAG.match(name):
            return {name[1:]: _from_json(member, depth - 1)}
    return {name: _from_json(member, depth - 1) for name, member in parsed.items()}


def _from_base64(text: Any) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        decoded = None
    if decoded is None or base64.b64encode(decoded).decode("ascii") != text:
        raise SynclineError("BAD_VALUE", "$bytes is not padded base64.")
    return decoded


def _integer(text: str) -> int | float:
    # Every number is a double: beyond 2^53 the digits say more than one holds. "-0" is zero.
    return int(text) if len(text) < 16 else _from_digits(text)


def _from_digits(text: str) -> int | float:
    double = float(text)
    return int(double) if abs(double) < 1e21 else double


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
