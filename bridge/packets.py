"""Engine.IO 4 and Socket.IO 5 packets as text: what goes over one socket, and nothing of what it
means. Pure. Packets with binary attachments are not spoken: no client of ours sends any."""

from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from bridge import schemas
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.wire import dumps

#: Milliseconds between two pings of the server, and that an answer may take; Socket.IO's defaults.
PING_INTERVAL_MS, PING_TIMEOUT_MS = 25_000, 20_000
PING, PONG, NOOP, CLOSE = "2", "3", "6", "1"
PROBE, PROBED, UPGRADE = "2probe", "3probe", "5"
_MAX_ACK_DIGITS = 15


class Malformed(Exception):
    """It is not what a Socket.IO client sends; the connection ends."""


class Kind(Enum):
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"
    UPGRADE = "upgrade"
    NOOP = "noop"
    CONNECT = "connect"
    DISCONNECT = "disconnect"
    EVENT = "event"
    ACK = "ack"


class Packet(Struct, frozen=True, gc=False):
    """kind; of an event its name, its first argument as JSON text ("" without one) and the number
    under which an answer is expected; of a CONNECT the namespace as name and its payload; of an ACK
    the array of its arguments."""

    kind: Kind
    name: str = ""
    payload: str = ""
    ack_id: str = ""


_PLAIN = {
    PING: Packet(Kind.PING), PROBE: Packet(Kind.PING, "probe"), PONG: Packet(Kind.PONG),
    UPGRADE: Packet(Kind.UPGRADE), NOOP: Packet(Kind.NOOP), CLOSE: Packet(Kind.CLOSE),
    "41": Packet(Kind.DISCONNECT),
}  # fmt: skip


def parse(text: str) -> Packet:
    """Raises Malformed."""
    if text.startswith("42"):
        return _event(text)
    if (plain := _PLAIN.get(text)) is not None:
        return plain
    if text.startswith("40"):
        return _connect(text[2:])
    if text.startswith("43"):
        start = text.find("[")
        return Packet(Kind.ACK, payload=text[start:] if start > 0 else "")
    raise Malformed("unknown packet")


def _connect(rest: str) -> Packet:
    namespace = "/"
    if rest.startswith("/"):
        namespace, _, rest = rest.partition(",")
    return Packet(Kind.CONNECT, namespace, rest)


def _event(text: str) -> Packet:
    start = text.find("[", 2, 3 + _MAX_ACK_DIGITS)
    ack_id = text[2:start]
    if start < 0 or (ack_id and not (ack_id.isascii() and ack_id.isdigit())):
        raise Malformed("unknown event")
    # What clients send: ["name",{…}] or, with an idle second argument, ["name",{…},null] (trap 35).
    end = text.find('"', start + 2, start + 70)
    if text.startswith('["', start) and text.startswith('",{', end) and text.endswith("]"):
        name = text[start + 2 : end]
        if "\\" not in name:
            until = -6 if text.endswith(",null]") else -1
            return Packet(Kind.EVENT, name, text[end + 2 : until], ack_id)
    return split(text, start, ack_id)


def split(text: str, start: int, ack_id: str) -> Packet:
    """The same for an event of any form. start: of its array."""
    try:
        name, *arguments = schemas.split_arguments(text[start:])
        named = schemas.Reader(str).read(name)
    except (InvalidInput, ValueError):
        raise Malformed("unknown event") from None
    return Packet(Kind.EVENT, named, arguments[0] if arguments else "", ack_id)


def again(text: str) -> Packet:
    """An event, read by the slow way: for one whose first argument was not all of the rest."""
    start = text.index("[")
    return split(text, start, text[2:start])


def opening(sid: str, *, max_payload: int, upgrades: list[str]) -> str:
    """The first packet of a connection."""
    return "0" + dumps(
        {
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": PING_INTERVAL_MS,
            "pingTimeout": PING_TIMEOUT_MS,
            "maxPayload": max_payload,
        }
    )


def connected(sid: str) -> str:
    return "40" + dumps({"sid": sid})


def refused(message: str, *, namespace: str = "/") -> str:
    """A connect error. An editor that hears one never comes back by itself (trap 37)."""
    prefix = "" if namespace == "/" else f"{namespace},"
    return f"44{prefix}" + dumps({"message": message})


def event(name: str, payload: str) -> str:
    """payload: JSON text."""
    return f'42["{name}",{payload}]'


def question(name: str, payload: str) -> str:
    """An event that is to be acknowledged. Its number is always the same: answers say themselves
    what they are about."""
    return f'420["{name}",{payload}]'


def ack(ack_id: str, answer: object) -> str:
    return f"43{ack_id}[{dumps(answer)}]"


class _Message(Struct):
    ts: float
    partial: bool | None = None


class _TaskEvent(Struct, rename="camel"):
    task_id: str
    message: _Message | None = None


class _Update(Struct, rename="camel"):
    """What devices hear of a message."""

    payload: _TaskEvent
    source_device_id: str = ""


class _Progress(Struct, rename="camel"):
    task_id: str
    ts: float


class _ToolUpdate(Struct, rename="camel"):
    payload: _Progress
    source_device_id: str = ""


class Written(Struct, frozen=True):
    """A message of a task as it is relayed. key: alike for all forms of one message."""

    key: tuple[str, str, str, float]
    is_partial: bool


_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "task:relayed_event": msgspec.json.Decoder(_TaskEvent),
    "watch:task_event": msgspec.json.Decoder(_TaskEvent),
    "conversation_update": msgspec.json.Decoder(_Update),
    "tool_progress": msgspec.json.Decoder(_ToolUpdate),
}
_LONGEST = max(map(len, _decoders))


def written(text: str) -> Written | None:
    """What a packet relays of a task's message; None if it does not."""
    end = text.find('",', 4, 4 + _LONGEST + 2)
    name = text[4:end]
    decoder = _decoders.get(name) if end > 0 and text.startswith('42["') else None
    if decoder is None:
        return None
    try:
        event = decoder.decode(text[end + 2 : -1])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None
    if isinstance(event, _ToolUpdate):
        tool = event.payload
        return Written((name, event.source_device_id, tool.task_id, tool.ts), is_partial=True)
    source = ""
    if isinstance(event, _Update):
        source, event = event.source_device_id, event.payload
    message = event.message
    if message is None:
        return None
    key = name, source, event.task_id, message.ts
    return Written(key, is_partial=bool(message.partial))
