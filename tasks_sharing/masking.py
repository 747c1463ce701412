"""What takes the place of secrets. Pure: the masks of a task come in, and every representation that
may leave its organization is made of the messages that come out."""

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from roocloud.lib import wire
from roocloud.lib.ids import digest
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import ESCAPES
from tasks_sharing.detection import Needle, parsed
from tasks_sharing.gists import Gist
from tasks_sharing.models import Message, Task

#: A message's place in its task: ``ts``, type and kind. Its row is another after each backfill.
Place = tuple[int, str, str]

_EMAIL = re.compile(
    r"\b(?!git@)[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
)
_EMAIL_TOKEN = "[masked: e-mail address]"  # noqa: S105 - what is shown
#: Of a public link, where the author gave no name.
AUTHOR = "The author"
_CREDENTIALS = re.compile(r"//[^/\s@]*@")
_PATH_KEYS = ("path", "filePath", "file", "imagePath", "imageUri")
_FACTS = ("title", "mode", "model", "provider", "repository_url", "repository_name", "branch")
_SHORTEST_REST = 4  # characters of a secret that a cut title may not end in


def token(kind: str, number: int) -> str:
    """What readers see: ``[masked: GitHub token #1]``."""
    return f"[masked: {kind} #{number}]"


@dataclass(frozen=True, slots=True)
class Masks:
    """What is hidden of a task, each with the token that takes its place.

    texts: wherever they stand. files: everything that tools tell of a path. places: whole messages.
    is_public: for people outside of the organization, who learn neither the author's address nor
    what cameras and programs wrote into images.
    """

    texts: Mapping[Needle, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[Place, str] = field(default_factory=dict)
    hides_emails: bool = False
    is_public: bool = False
    _wholes: tuple[tuple[str, Needle, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wholes = tuple((n.before + n.text + n.after, n, label) for n, label in self.texts.items())
        object.__setattr__(self, "_wholes", wholes)

    def __bool__(self) -> bool:
        return bool(self.texts or self.files or self.places or self.hides_emails)

    @property
    def version(self) -> str:
        """Another one whenever something else is hidden."""
        state = self.texts, self.files, self.places, self.hides_emails
        return digest(repr(state))

    def text(self, text: str) -> str:
        """The text with tokens for what is hidden of it."""
        if "\x1b" in text:
            bare = ESCAPES.sub("", text)
            if self.hides_emails or self._spans(bare):
                text = bare  # a colour may begin within a secret: rather none than its halves
        if spans := self._spans(text):
            shown, at = [], 0
            for start, end, label in _merged(spans):
                shown += [text[at:start], label]
                at = end
            text = "".join([*shown, text[at:]])
        return _EMAIL.sub(_EMAIL_TOKEN, text) if self.hides_emails else text

    def hides(self, place: Place) -> bool:
        """Whether all of the message of that place is hidden."""
        return place in self.places

    def gist(self, gist: Gist) -> Gist:
        """The gist of a message, of which no file is hidden, as it may be shown."""
        if all(self.text(change.path) == change.path for change in gist.changes):
            return gist
        changes = [replace(change, path=self.text(change.path)) for change in gist.changes]
        return replace(gist, changes=changes)

    def message(self, message: Message) -> Message:
        """The message as it may be shown: the same row if nothing of it is hidden."""
        if not self:
            return message
        if label := self.places.get((message.ts, message.type, message.kind)):
            # No kind that anybody knows; but a hidden text stays one, or else the next text after
            # a hidden prompt would pass for the prompt.
            kind = "text" if message.kind == "text" else label
            document = {"ts": message.ts, "type": message.type, message.type: kind, "text": label}
            return _changed(message, kind, wire.dumps(document))
        try:
            document = wire.loads(message.body.encode())
        except InvalidInput:
            return _changed(message, self.text(message.kind), "{}")
        shown = self._value(document)
        if shown is document and self.text(message.kind) == message.kind:
            return message
        return _changed(message, self.text(message.kind), wire.dumps(shown))

    def messages(self, messages: Iterable[Message]) -> list[Message]:
        """Each of them as it may be shown."""
        return [self.message(message) for message in messages]

    def task(self, task: Task) -> Task:
        """The task with what its title and the names around it hide; not to be saved."""
        if not self:
            return task
        shown = copy(task)
        for name in _FACTS:
            setattr(shown, name, self._rest(self.text(getattr(task, name))))
        shown.repository_url = _CREDENTIALS.sub("//", shown.repository_url)
        return shown

    def author(self, task: Task) -> str:
        """What readers call the task's author. To the public somebody who gave no name, and goes by
        their address among colleagues, is ``The author``."""
        name = task.owner.name
        if not self.is_public:
            return name
        is_address = task.owner.email.casefold() in name.casefold() or _EMAIL.search(name)
        return self.text(AUTHOR if is_address else name)

    def _rest(self, label: str) -> str:
        """The label without the beginning of a secret that it was cut in."""
        if not label.endswith("…"):
            return label
        for needle, shown in self.texts.items():
            whole = needle.before + needle.text
            for length in range(min(len(whole), len(label) - 1), _SHORTEST_REST - 1, -1):
                if label.endswith(whole[:length] + "…"):
                    return label[: -length - 1] + shown
        return label

    def _spans(self, text: str) -> list[tuple[int, int, str]]:
        spans = []
        for whole, needle, label in self._wholes:
            if whole in text:
                at = text.find(whole)
                while at >= 0:
                    start = at + len(needle.before)
                    spans.append((start, start + len(needle.text), label))
                    at = text.find(whole, at + 1)
        return spans

    def _value(self, value: Any) -> Any:
        """The value itself if nothing of it is hidden."""
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, list):
            items = [self._value(item) for item in value]
            return value if all(map(_is_same, items, value)) else items
        if isinstance(value, dict):
            if label := next((self.files[p] for p in _paths(value) if p in self.files), None):
                return {key: _emptied(item, key, label) for key, item in value.items()}
            pairs = {self.text(key): self._value(item) for key, item in value.items()}
            same = pairs.keys() == value.keys() and all(pairs[key] is value[key] for key in value)
            return value if same else pairs
        return value

    def _string(self, value: str) -> str:
        if "\\u00" in value or (self.files and "{" in value):
            # Escapes can spell a secret in many ways, and tools tell of files in JSON.
            inner = parsed(value)
            if inner is not None and (shown := self._value(inner)) is not inner:
                return self.text(json.dumps(shown, ensure_ascii=False))
        shown_text = self.text(value)
        return value if shown_text == value else shown_text


NONE = Masks()


def spellings(needle: Needle) -> set[Needle]:
    """The needle as JSON within JSON, HTML and addresses spell it."""
    found = {needle}
    for spell in (_json, _ascii_json, _slashed, _go, html.escape, quote, _json_twice):
        found.add(Needle(spell(needle.text), spell(needle.before), spell(needle.after)))
    return found


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _ascii_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_twice(text: str) -> str:
    return _json(_json(text))


def _slashed(text: str) -> str:
    return _ascii_json(text).replace("/", "\\/")


def _go(text: str) -> str:
    escaped = {"&": "\\u0026", "<": "\\u003c", ">": "\\u003e"}
    return "".join(escaped.get(letter, letter) for letter in _json(text))


def paths(message: Message) -> set[str]:
    """The files that a message tells of."""
    try:
        document = wire.loads(message.body.encode())
    except InvalidInput:
        return set()
    return set(_all_paths(document))


def _all_paths(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if (inner := parsed(value)) is not None:
            yield from _all_paths(inner)
    elif isinstance(value, list):
        for item in value:
            yield from _all_paths(item)
    elif isinstance(value, dict):
        yield from _paths(value)
        for item in value.values():
            yield from _all_paths(item)


def _paths(value: Mapping[str, Any]) -> Iterator[str]:
    for key in _PATH_KEYS:
        if isinstance(path := value.get(key), str) and path:
            yield path


def _emptied(value: Any, key: str, label: str) -> Any:
    if isinstance(value, str):
        return value if key in (*_PATH_KEYS, "tool") else label
    if isinstance(value, list):
        return [_emptied(item, "", label) for item in value]
    if isinstance(value, dict):
        return {inner: _emptied(item, inner, label) for inner, item in value.items()}
    return value


def _is_same(one: Any, other: Any) -> bool:
    return one is other


def _merged(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Spans that touch no other: of those that overlap, what they cover together, by the longest's
    name."""
    merged: list[tuple[int, int, str]] = []
    longest = 0
    for start, end, label in sorted(spans):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            if end - start > longest:
                longest, before = end - start, (before[0], before[1], label)
            merged[-1] = (before[0], max(before[1], end), before[2])
        else:
            longest = end - start
            merged.append((start, end, label))
    return merged


def _changed(message: Message, kind: str, body: str) -> Message:
    shown = copy(message)
    shown.kind, shown.body = kind, body
    return shown
