"""What a client has to know of the tables of errors and of close codes (ER1, CL1)."""

from __future__ import annotations

PROTOCOL_VERSION = 1
SUBPROTOCOL = "syncline.v1.json"

#: The same request may succeed later.
RETRYABLE = frozenset(
    (
        "TIMEOUT",
        "CLOCK_SKEW",
        "RATE_LIMITED",
        "BACKPRESSURE",
        "INTERNAL_ERROR",
        "OVERLOADED",
        "STORAGE_FULL",
        "STORAGE_UNAVAILABLE",
        "SHUTTING_DOWN",
    )
)

#: Those after which a write may have been taken all the same.
IN_DOUBT = frozenset(("TIMEOUT", "INTERNAL_ERROR"))

#: The close codes of the server that this client tells apart.
CLOSE_CODES = {"GOING_AWAY": 1001, "UNAUTHORIZED": 4001}

#: Most ops in a batch, and most records in a push.
BATCH_OPS = 1_000
MAX_FRAME_BYTES = 67_108_864
