"""What no client sends: packets and frames that break the rules in every way that we know (F2)."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.bridge.conftest import instance, message, question
from tests.bridge.raw import BINARY, CLOSE, drained, frame, plugged

EVENTS = [
    ["extension:register", instance(), None],
    ["extension:heartbeat", instance()],
    ["extension:event", {"type": "taskCreated", "instance": instance(), "timestamp": 1}, None],
    ["extension:unregister", instance(), None],
    ["task:join", {"taskId": "task-1"}],
    ["task:leave", {"taskId": "task-1"}],
    ["task:event", message(1), None],
    ["task:event", question(2), None],
]
#: In the place of any value of an event.
VALUES: list[Any] = [
    None, True, -1, 0, 1e308, 2**63, 2**200, "", "x" * 5000, "\x00", "\ud83d", "💥", [], {}, [[]],
    {"": {}}, "../../etc", "' OR 1=1 --", [None] * 200,
]  # fmt: skip
DEEP = "[" * 50_000
#: Each ends the connection.
PACKETS = [
    "4", "40", "40{", "42", "42[", "42{}", "42[]", "42[1]", '42["x', '42x["x"]', "42-1[]", "44", "45-",
    "451-[]", "46", "49", "5", "7", "9", "-", "\x00", "💥", "42" + "9" * 400, "42" + DEEP,
    '42["task:join",' + DEEP, '42["task:join"' + ",[" * 9_000, '42/x,["task:join",{}]',
    '42["task:join",{"taskId":"\\', '42["\\ud83d",{}]x',
]  # fmt: skip
#: So does each of these, which break the rules of WebSocket itself.
FRAMES = [
    frame(b"42[]", BINARY), frame(b"", BINARY), frame(b""), frame(b"\xff\xfe\xfd"),
    frame(b"42\xc3("), frame(b"x", 3), frame(b"x", 0xB), frame(b"x", 0), frame(b"x" * 200, 9),
    frame(b"x", 9, first=0), frame(b"x", first=0xC0), frame(b"x", first=0x90),
    frame(b"\x03", CLOSE), frame(b"\x00\x01", CLOSE), frame(b"\x03\xe8\xff", CLOSE),
    b"\x81\x05hello", b"\x81\xff" + b"\xff" * 12, b"\x81\xfe\x00\x01" + b"\x00" * 5,
    b"GET / HTTP/1.1\r\n\r\n",
]  # fmt: skip
#: Of one connection: events before the one that ends it.
BURST = 20


@dataclass(slots=True)
class Sender:
    """Malformed frames at random, the same for the same seed. sent: how many so far."""

    url: str
    query: dict[str, str]
    seed: int
    sent: int = 0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - the same in every run

    def send(self, count: int) -> None:
        """On as many connections as it takes, each of which the server must end."""
        while self.sent < count:
            plug = plugged(self.url, **self.query)
            frames = [self._spoilt() for _ in range(BURST)]
            plug.sendall(frame(b"40") + b"".join(frames) + self._last())
            drained(plug)
            self.sent += BURST + 1

    def _spoilt(self) -> bytes:
        """An event with something wrong in it, which need not end the connection."""
        event = json.loads(json.dumps(self.chance.choice(EVENTS)))
        place, key = event, self.chance.randrange(len(event))
        while isinstance(place[key], dict | list) and place[key] and self.chance.random() < 0.8:
            place = place[key]
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = self.chance.choice(keys)
        if isinstance(place, dict) and self.chance.random() < 0.2:
            del place[key]
        else:
            place[key] = self.chance.choice(VALUES)
        number = self.chance.choice(["", "1", "77"])
        if not isinstance(event[0], str):  # which would end it
            event[0] = "task:join"
        return frame(f"42{number}{json.dumps(event)}".encode())

    def _last(self) -> bytes:
        if self.chance.random() < 0.5:
            return frame(self.chance.choice(PACKETS).encode())
        return self.chance.choice(FRAMES)
