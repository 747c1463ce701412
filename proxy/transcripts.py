"""What is asked and answered in a completion, as text for people, within bounds. No I/O.

Organizations may have it stored (see proxy.keeping, docs/decisions/0019). A ``Draft`` takes the
bytes of an answer while they pass and reads them when it is stored, on another thread.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from proxy.calls import CHAT, EMBEDDINGS, IMAGES, Call, Endpoint
from roocloud.lib.text import storable

if TYPE_CHECKING:
    from proxy.admission import Admitted

#: Bytes of text that are kept of a request's input, of its parameters, and of an answer.
MAX_INPUT = 2**18
MAX_PARAMETERS = 2**16
MAX_ANSWER = 2**18
#: What a turn or a part counts beside its text, so that very many empty ones have an end too.
_EACH = 32
#: Bytes of a stream that may wait to be read.
_MAX_UNREAD = 8 * 2**20
_TEXTS = frozenset({"text", "input_text", "output_text"})
_THOUGHTS = ("reasoning", "reasoning_content")


class Part(Struct, array_like=True):
    """kind: what it is, in words: ``text``, ``reasoning``, ``tool call``, ``image_url`` …"""

    kind: str
    text: str


class Turn(Struct, array_like=True):
    role: str
    parts: list[Part]


class Asked(Struct):
    """turns: the newest. left_out: how many came before them. parameters: (name, JSON)."""

    turns: list[Turn]
    left_out: int
    parameters: list[tuple[str, str]]
    is_cut: bool


class Answered(Struct):
    """turns: one for each choice."""

    turns: list[Turn]
    is_cut: bool


class _Room:
    """How much text there is still room for."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.is_cut = False

    def takes(self, size: int) -> bool:
        if size > self.left:
            return False
        self.left -= size
        return True

    def cut(self, text: str) -> str:
        """As much of the beginning as there is room for."""
        data = text.encode()
        if len(data) > self.left:
            data, self.is_cut = data[: max(self.left, 0)], True
        self.left -= len(data)
        return data.decode(errors="ignore")

    def cut_turn(self, turn: Turn) -> Turn:
        parts = []
        for part in turn.parts:
            if not self.takes(_EACH + len(part.kind)):
                self.is_cut = True
                break
            parts.append(Part(part.kind, self.cut(part.text)))
        return Turn(turn.role, parts)


# --- Requests ---------------------------------------------------------------------------------


def read_request(call: Call) -> Asked:
    """What a call asks: the newest turns, whole, as far as there is room; of the newest alone its
    beginning, if it is larger than that. Images and other files are named by their size."""
    source = call.endpoint.source
    if call.endpoint is CHAT:
        turns, left_out, is_cut = _newest(_list(call.fields[source]), _message)
    else:
        turns, left_out, is_cut = _newest(_inputs(_value(call.fields[source])), _input)
    room = _Room(MAX_PARAMETERS)
    parameters = []
    for name, raw in call.fields.items():
        if name in ("model", source):
            continue
        if not room.takes(_EACH):
            room.is_cut = True
            break
        parameters.append((room.cut(name), room.cut(_json(raw))))
    return Asked(turns, left_out, parameters, is_cut or room.is_cut)


def _list(raw: Raw) -> list[Raw]:
    try:
        return msgspec.json.decode(raw, type=list[Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [raw]


def _newest(items: list[Any], read: Callable[[Any], Turn]) -> tuple[list[Turn], int, bool]:
    """(turns, how many are left out before them, whether the newest is cut)"""
    room, turns = _Room(MAX_INPUT), deque[Turn]()
    for number in range(len(items) - 1, -1, -1):
        turn = read(items[number])
        if not room.takes(_size(turn)):
            if turns:
                return list(turns), number + 1, False
            turn = room.cut_turn(turn)
            return [turn], number, room.is_cut
        turns.appendleft(turn)
    return list(turns), 0, False


def _size(turn: Turn) -> int:
    texts = (len(part.kind) + len(part.text.encode()) + _EACH for part in turn.parts)
    return _EACH + len(turn.role) + sum(texts)


def _message(raw: Raw) -> Turn:
    value = _value(raw)
    message = value if isinstance(value, dict) else {}
    return Turn(_text(message.get("role"))[:40], list(_parts(message)))


def _inputs(value: Any) -> list[Any]:
    """Of embeddings, which may be one, many, or tokens; of images one."""
    is_many = isinstance(value, list) and all(isinstance(one, str | list) for one in value)
    return value if is_many else [value]


def _input(value: Any) -> Turn:
    if isinstance(value, str):
        return Turn("input", [Part("text", _text(value))])
    count = len(value) if isinstance(value, list) else 0
    return Turn("input", [Part("tokens", f"{count:,}, not stored")])


def _parts(message: dict[str, Any]) -> Iterator[Part]:
    """Of a message, in either direction."""
    thought = next(filter(None, (_text(message.get(name)) for name in _THOUGHTS)), "")
    if thought := thought or _details(message.get("reasoning_details")):
        yield Part("reasoning", thought)
    if answered := _text(message.get("tool_call_id")):
        yield Part("result of", answered)
    content = message.get("content")
    for part in content if isinstance(content, list) else [content]:
        yield from _content(part)
    if refusal := _text(message.get("refusal")):
        yield Part("refusal", refusal)
    for call in _items(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            name, arguments = _text(function.get("name")), _words(function.get("arguments"))
            yield Part("tool call", f"{name}({arguments})")
    for image in _items(message.get("images")):
        yield _file(image)


def _content(part: Any) -> Iterator[Part]:
    if isinstance(part, str):
        if part:
            yield Part("text", _text(part))
    elif isinstance(part, dict):
        if part.get("type") in _TEXTS:
            yield Part("text", _text(part.get("text")))
        else:
            yield _file(part)


def _file(part: dict[str, Any]) -> Part:
    kind = _text(part.get("type"))[:40] or "file"
    return Part(kind, f"{_weight(part):,} bytes, not stored")


def _details(details: Any) -> str:
    return "".join(_text(one.get("text")) or _text(one.get("summary")) for one in _items(details))


def _items(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return storable(value) if isinstance(value, str) else ""


def _words(value: Any) -> str:
    """Arguments, which some upstreams give as an object."""
    is_object = isinstance(value, dict | list)
    return storable(json.dumps(value)) if is_object else _text(value)


def _weight(value: Any) -> int:
    """About how many bytes of JSON a value is."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return sum(map(_weight, value)) if isinstance(value, list) else 8


def _value(raw: Raw | bytes) -> Any:
    """None for what cannot be read."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(bytes(raw))
    except (ValueError, RecursionError):
        return None


def _json(raw: Raw) -> str:
    """A parameter as it was sent, but for files within it."""
    data = bytes(raw)
    if b"data:" in data:
        data = msgspec.json.encode(_without_files(_value(raw)))
    return data.decode(errors="replace")


def _without_files(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("data:"):
        return f"[{len(value):,} bytes, not stored]"
    if isinstance(value, list):
        return [_without_files(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_files(one) for name, one in value.items()}
    return value


# --- Answers ----------------------------------------------------------------------------------


class _Said:
    """What a streamed answer has said up to now, choice by choice. Texts come in small pieces."""

    def __init__(self) -> None:
        self._room = _Room(MAX_ANSWER)
        self._choices: dict[int, dict[tuple[str, int], list[str]]] = {}

    @property
    def is_full(self) -> bool:
        return self._room.is_cut

    def read(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            if line.startswith(b"data:"):
                self._add(_value(line[5:]))

    def _add(self, chunk: Any) -> None:
        for choice in _items(chunk.get("choices") if isinstance(chunk, dict) else None):
            number = choice.get("index")
            delta = choice.get("delta") or choice.get("message")
            if isinstance(delta, dict):
                parts = self._choices.setdefault(number if isinstance(number, int) else 0, {})
                for key, text in _pieces(delta):
                    if key in parts or self._room.takes(_EACH):
                        parts.setdefault(key, []).append(self._room.cut(text))
                    else:
                        self._room.is_cut = True

    def answer(self) -> Answered:
        turns = [
            Turn("assistant", [Part(kind, _joined(kind, texts)) for (kind, _), texts in parts])
            for parts in (choice.items() for _, choice in sorted(self._choices.items()))
        ]
        return Answered(turns, self._room.is_cut)


def _pieces(delta: dict[str, Any]) -> Iterator[tuple[tuple[str, int], str]]:
    """((kind, number), text) of what a chunk adds."""
    for part in _parts({**delta, "tool_calls": None}):
        yield (part.kind, 0), part.text
    for call in _items(delta.get("tool_calls")):
        function, number = call.get("function"), call.get("index")
        if isinstance(function, dict):
            key = "tool call", number if isinstance(number, int) else 0
            if name := _text(function.get("name")):
                yield key, f"{name}("
            yield key, _words(function.get("arguments"))


def _joined(kind: str, texts: Iterable[str]) -> str:
    text = "".join(texts)
    return f"{text})" if kind == "tool call" else text


def read_answer(body: bytes, endpoint: Endpoint) -> Answered:
    """A whole answer; of embeddings and images, how many there are."""
    value = _value(body)
    answer = value if isinstance(value, dict) else {}
    if endpoint in (EMBEDDINGS, IMAGES):
        count = len(_items(answer.get("data")))
        turns = [Turn("answer", [Part(endpoint.path, f"{count:,}, not stored")])]
        return Answered(turns, is_cut=False)
    room = _Room(MAX_ANSWER)
    turns = [
        room.cut_turn(Turn("assistant", list(_parts(message))))
        for choice in _items(answer.get("choices"))
        if isinstance(message := choice.get("message"), dict)
    ]
    return Answered(turns, room.is_cut)


# --- A transcript in the making ---------------------------------------------------------------


@dataclass(eq=False)
class Draft:
    """The transcript of a running completion. ``feed`` and ``take`` are called where the answer
    passes, ``read`` by whoever stores it, one at a time. is_stored: so far, up to ``stored``."""

    completion_id: str
    organization_id: str
    user_id: str
    started_at: datetime
    call: Call
    is_stored: bool = False
    stored: Answered | None = None

    def __post_init__(self) -> None:
        self._unread: deque[bytes] = deque()
        self._fed = self._taken = 0
        self._whole: bytes | None = None
        self._said = _Said()
        self._has_lost = False

    def feed(self, lines: bytes) -> None:
        """Whole lines of a stream."""
        if self._said.is_full or self._has_lost:
            return
        self._fed += len(lines)
        if self._fed - self._taken > _MAX_UNREAD:
            self._has_lost = True
        else:
            self._unread.append(lines)

    def take(self, body: bytes) -> None:
        """An answer in one piece."""
        self._whole = body

    def read(self) -> Answered:
        """What has been answered up to now."""
        if self._whole is not None:
            return read_answer(self._whole, self.call.endpoint)
        parts = []
        while self._unread:
            parts.append(self._unread.popleft())
        lines = b"".join(parts)
        self._taken += len(lines)
        self._said.read(lines)
        answer = self._said.answer()
        return Answered(answer.turns, answer.is_cut or self._has_lost)


def draft_of(admitted: "Admitted") -> Draft | None:
    """None for what is not to be stored."""
    order = admitted.order
    if not order.is_kept or order.actor.organization_id is None:
        return None
    return Draft(
        completion_id=admitted.completion_id,
        organization_id=order.actor.organization_id,
        user_id=order.actor.user_id,
        started_at=order.at,
        call=order.call,
    )
