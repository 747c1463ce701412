"""Many devices of one person, and commands by the thousand for them (D1)."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bridge.devices import orders, registry
from bridge.devices.models import QueuedCommand
from bridge.devices.registry import Credentials
from tests.bridge.paired import paired

HERE = Path(__file__).resolve().parent
_BATCH = 500


@dataclass(frozen=True)
class Seen:
    """What the devices saw: commands that they carried out, that came again, that came before an
    earlier one of their task, and after their end. connected: devices that are."""

    connected: int
    applied: int
    repeated: int
    misordered: int
    late: int


class Fleet:
    """The process that they run in."""

    def __init__(self, person: Any, size: int) -> None:
        self.devices = [paired(person, f"desk-{number:05}") for number in range(size)]
        self._node = subprocess.Popen(  # noqa: S603 - our own script
            ["node", str(HERE / "fleet.mjs")],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _say(self, **act: Any) -> None:
        assert self._node.stdin is not None
        self._node.stdin.write(json.dumps(act) + "\n")
        self._node.stdin.flush()

    def open(self, number: int, url: str) -> None:
        self._say(op="open", name=number, url=url, token=self.devices[number].token)

    def cut(self, number: int) -> None:
        self._say(op="cut", name=number)

    def seen(self) -> Seen:
        self._say(op="report")
        assert self._node.stdout is not None
        return Seen(**json.loads(self._node.stdout.readline()))

    def end(self) -> None:
        for pipe in (self._node.stdin, self._node.stdout):
            assert pipe is not None
            pipe.close()
        self._node.wait(timeout=10)


@contextmanager
def running(person: Any, size: int) -> Iterator[Fleet]:
    fleet = Fleet(person, size)
    try:
        yield fleet
    finally:
        fleet.end()


def give(devices: Sequence[Credentials], numbers: range, *, tasks: int, at: datetime) -> None:
    """A command of each number, to the devices in turn, and there to the tasks in turn."""
    by = registry.standing_of(devices[0].device, at=at)
    given = [
        orders.Order(
            by=by,
            key=f"command-{at.timestamp()}-{number}",
            kind="user_message",
            target_device_id=devices[number % len(devices)].device.device_id,
            payload=json.dumps({"taskId": f"{number // len(devices) % tasks}", "number": number}),
            task_id=f"{number // len(devices) % tasks}",
            text="",
            priority=0,
            expires_at=at + orders.WAITS_FOR,
            at=at,
        )
        for number in numbers
    ]
    for start in range(0, len(given), _BATCH):
        placed = orders.place(given[start : start + _BATCH])
        assert all(isinstance(one, orders.Placed) and one.is_new for one in placed)


def all_connected(fleet: Fleet, count: int, *, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while (connected := fleet.seen().connected) != count:
        assert time.monotonic() < deadline, f"{connected} are connected"
        time.sleep(0.1)


def all_settled(*, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while QueuedCommand.unscoped.open().exists():
        assert time.monotonic() < deadline, f"{QueuedCommand.unscoped.open().count()} are left"
        time.sleep(0.1)
