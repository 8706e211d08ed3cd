"""Drives the client for the conformance kit: a command a line comes in, an answer a line goes out."""

from __future__ import annotations

import json
import sys
from typing import Any, Dict

from syncline import Client


def main() -> None:
    """Reads commands until there are no more, or ``exit``."""
    url = sys.argv[1]
    client = Client(url)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        answer: Dict[str, Any] = {"id": command["id"], "ok": True}
        kind = command["do"]
        if kind == "exit":
            break
        if kind == "connect":
            client.sign_in(command.get("token"))
            client.connect()
        elif kind == "follow":
            client.map(command["map"])
        elif kind == "write":
            client.map(command["map"]).set(command["key"], command["value"])
        elif kind == "patch":
            client.map(command["map"]).update(command["key"], command["set"], command.get("unset", ()))
        elif kind == "remove":
            client.map(command["map"]).remove(command["key"])
        elif kind == "read":
            value = client.map(command["map"]).get(command["key"])
            if value is not None:
                answer["value"] = value
        elif kind == "pending":
            answer["count"] = client.pending()
        elif kind == "rejected":
            answer["codes"] = [rejection.code for rejection in client.rejected()]
        else:
            answer = {"id": command["id"], "ok": False, "error": "unsupported"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
