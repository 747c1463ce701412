"""The published Socket.IO client in Node, as editors and browsers of a test."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PATIENCE_S = 20


class Client:
    """One Socket.IO client. ``heard`` has every event with its arguments, in order."""

    def __init__(self, process: "Clients", name: str) -> None:
        self._process = process
        self.name = name
        self.heard: list[tuple[str, list[Any]]] = []
        self._asked = 0
        self._read_to = 0

    def emit(self, event: str, *args: Any) -> None:
        self._process.say({"op": "emit", "name": self.name, "event": event, "args": args})

    def ask(self, event: str, *args: Any) -> Any:
        """Emit, and the acknowledgement."""
        self._asked += 1
        number = self._asked
        said = {"op": "emit", "name": self.name, "event": event, "args": args, "ask": number}
        self._process.say(said)
        return self.wait("answer", lambda *given: given[0] == number, passed=True)[1]

    def wait(
        self,
        event: str,
        fits: Callable[..., bool] = lambda *_: True,
        *,
        passed: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> list[Any]:
        """The arguments of the next such event; with passed, also of one that was waited past."""
        at = 0 if passed else self._read_to
        deadline = time.monotonic() + patience_s
        while True:
            while at < len(self.heard):
                name, args = self.heard[at]
                at += 1
                if name == event and fits(*args):
                    if not passed:
                        self._read_to = at
                    return args
            if not self._process.listen(deadline):
                raise AssertionError(f"{self.name} heard no {event}, but {self.heard[-10:]}")

    def cut(self) -> None:
        self._process.say({"op": "cut", "name": self.name})

    def close(self) -> None:
        self._process.say({"op": "close", "name": self.name})

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.heard)


class Clients:
    """The process that they run in."""

    def __init__(self) -> None:
        self._node = subprocess.Popen(  # noqa: S603 - our own script
            ["node", str(HERE / "clients.mjs")],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._clients: dict[str, Client] = {}
        self._made = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._node.stdout is not None
        with self._node.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def say(self, act: dict[str, Any]) -> None:
        assert self._node.stdin is not None
        self._node.stdin.write(json.dumps(act) + "\n")
        self._node.stdin.flush()

    def listen(self, deadline: float) -> bool:
        """Take in what was heard; False when the time is over."""
        try:
            line = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            return False
        assert line is not None, "the clients' process ended"
        told = json.loads(line)
        if told["name"] in self._clients:
            self._clients[told["name"]].heard.append((told["event"], told["args"]))
        return True

    def close(self) -> None:
        """All clients."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def open(
        self,
        kind: str,
        url: str,
        *,
        query: dict[str, str],
        headers: dict[str, str] | None = None,
        acks: str = "none",
        **options: Any,
    ) -> Client:
        self._made += 1
        name = f"{kind}-{self._made}"
        self._clients[name] = Client(self, name)
        self.say(
            {"op": "open", "name": name, "url": url, "query": query, "headers": headers or {},
             "options": options, "acks": acks}
        )  # fmt: skip
        return self._clients[name]

    def end(self) -> None:
        assert self._node.stdin is not None
        self._node.stdin.close()
        self._node.wait(timeout=10)
        self._reader.join(timeout=10)


@contextmanager
def running() -> Iterator[Clients]:
    clients = Clients()
    try:
        yield clients
    finally:
        clients.end()
