"""What a message comes to: one block of the page, before its texts are rendered. Pure and total:
the readers below take what a client sent for what it is, whatever it claims to be."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label
from tasks_sharing.diffs import FileEdit
from tasks_sharing.markup import Part

#: Entries of a list within a message that are shown.
MAX_ENTRIES = 100
MAX_LABEL = 300


@dataclass(slots=True)
class Block:
    """One block of the page.

    form: which template shows it, tasks_sharing/kinds/{form}.html. verb, target, hint: its line;
    all that a folded block shows, "Edit", "slug.py", "2 places". parts: texts, each under a label
    that may be empty. source: the text as it was said, for copying, searching and export.
    state: "", "bad", "refused". meter: figures of a request, "3,700 in".
    """

    form: str
    verb: str = ""
    target: str = ""
    hint: str = ""
    parts: list[tuple[str, Part]] = field(default_factory=list)
    source: str = ""
    todos: list[tuple[str, str]] = field(default_factory=list)  # (state, text)
    suggestions: list["Suggestion"] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # (label, task id)
    edits: list[FileEdit] = field(default_factory=list)
    is_outside: bool = False  # of the workspace
    is_open: bool = False
    state: str = ""
    meter: list[str] = field(default_factory=list)
    lines: int = 0  # of output

    @property
    def added(self) -> int:
        return sum(edit.added for edit in self.edits)

    @property
    def removed(self) -> int:
        return sum(edit.removed for edit in self.edits)

    @property
    def label(self) -> str:
        """The block in one line."""
        return clean_label(f"{self.verb} {self.target}", MAX_LABEL)


@dataclass(slots=True)
class Suggestion:
    """An answer that a question offers. mode: that it would switch to."""

    answer: str
    mode: str = ""
    is_chosen: bool = False


#: From the text and the whole document of a message to its block; None if there is nothing to see.
Shape = Callable[[str, dict[str, Any]], Block | None]


def parsed(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None if it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        document = wire.loads(text.encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return None
    return document if isinstance(document, dict) else None


def indented(document: dict[str, Any]) -> str:
    """JSON for people."""
    try:
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(document, indent=2, ensure_ascii=False)


def string(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def label(document: dict[str, Any], key: str) -> str:
    return clean_label(string(document, key), MAX_LABEL)


def number(document: dict[str, Any], key: str) -> int:
    value = document.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def entries(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value[:MAX_ENTRIES] if isinstance(value, list) else []


def objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [entry for entry in entries(document, key) if isinstance(entry, dict)]


def counted(count: int, one: str, many: str = "") -> str:
    """``1 line``, ``2 lines``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def line_count(text: str) -> int:
    return text.rstrip("\n").count("\n") + 1
