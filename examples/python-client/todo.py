"""A list of things to do in the terminal, which works offline.

It shares its map with the page of the todo example: start the server by ``npm start``, and both show the same.

    python3 todo.py                      shows the list
    python3 todo.py add Buy milk         adds to it
    python3 todo.py done 1               ticks the first one off
    python3 todo.py remove 1             removes it
    python3 todo.py watch                shows the list whenever it changes, until Ctrl-C
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from typing import Any, List, Tuple
from urllib.parse import urlsplit
from urllib.request import urlopen

from syncline import Client, Map


def main() -> int:
    """Does what the command line says."""
    options = _options()
    address = urlsplit(options.server)
    scheme = "wss" if address.scheme == "https" else "ws"

    def token() -> str:
        # The development server gives anyone a token; a real one has a page to sign in.
        with urlopen(f"{options.server}/dev/token", timeout=5) as response:
            return str(response.read().decode().strip())

    with Client(f"{scheme}://{address.netloc}/ws", token=token, path=options.file) as client:
        todos = client.map("todos")
        reached = client.wait_synced(3.0)
        rows = _rows(todos)
        if options.command == "add":
            text = " ".join(options.words)
            todos.set(str(uuid.uuid4()), {"text": text, "done": False, "createdAt": int(time.time() * 1000)})
        elif options.command in ("done", "remove"):
            if not 0 < options.number <= len(rows):
                print(f"There is no number {options.number}.", file=sys.stderr)
                return 1
            key = rows[options.number - 1][0]
            todos.update(key, {"done": True}) if options.command == "done" else todos.remove(key)
        if reached:
            client.wait_synced(3.0)
        _show(client, todos)
        if options.command == "watch":
            _watch(client, todos)
        for rejection in client.rejected():
            print(f"refused: {rejection.code}: {rejection.message}", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A list of things to do, shared by a Syncline server.")
    parser.add_argument("--server", default="http://localhost:4555", help="the address that npm start prints")
    parser.add_argument("--file", default="todo.db", help="where the list is kept on this device")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("add").add_argument("words", nargs="+")
    commands.add_parser("done").add_argument("number", type=int)
    commands.add_parser("remove").add_argument("number", type=int)
    commands.add_parser("watch")
    return parser.parse_args()


def _rows(todos: Map) -> List[Tuple[str, Any]]:
    rows = [(key, todo) for key, todo in todos.items() if isinstance(todo, dict) and "text" in todo]
    return sorted(rows, key=lambda row: row[1].get("createdAt", 0))


def _show(client: Client, todos: Map) -> None:
    for number, (_, todo) in enumerate(_rows(todos), 1):
        print(f"{number:3} [{'x' if todo.get('done') else ' '}] {todo['text']}")
    waiting = client.pending()
    if waiting:
        where = "" if client.connected else "; the server is not to be reached"
        print(f"{waiting} waiting to be sent{where}")


def _watch(client: Client, todos: Map) -> None:
    changed = False

    def note(_key: str) -> None:
        nonlocal changed
        changed = True

    todos.on_change(note)
    try:
        while True:
            if client.wait_until(lambda: changed, 60):
                changed = False
                print()
                _show(client, todos)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    sys.exit(main())
