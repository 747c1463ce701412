"""Diffs as clients send them, read into lines. Pure: text in, lines out.

Clients write unified diffs, with the marker of a missing newline at the end blanked out; older ones
SEARCH/REPLACE blocks, or the whole content of a new file (protocol/tasks-and-telemetry.md §2.1).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

Sign = Literal[" ", "-", "+"]
#: Lines of one diff; what is longer is nobody's reading (F7).
MAX_LINES = 20_000
#: Lines of a block times lines of its replacement, up to which what they share is looked for.
_MAX_COMPARED = 250_000


class Line(NamedTuple):  # a page makes thousands
    """text: with its newline, if it has one in the file."""

    sign: Sign
    text: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """A run of lines. old_start, new_start: the number of its first line in the file before and
    after; None where the client did not say. From a unified diff (is_numbered) they are exact, from
    a SEARCH block a hint."""

    lines: tuple[Line, ...]
    old_start: int | None = None
    new_start: int | None = None
    is_numbered: bool = False

    @property
    def added(self) -> int:
        return sum(line.sign == "+" for line in self.lines)

    @property
    def removed(self) -> int:
        return sum(line.sign == "-" for line in self.lines)


@dataclass(frozen=True, slots=True)
class FileEdit:
    """What one message does to one file. is_new: the file was not there before."""

    path: str
    hunks: tuple[Hunk, ...]
    is_new: bool = False

    @property
    def added(self) -> int:
        return sum(hunk.added for hunk in self.hunks)

    @property
    def removed(self) -> int:
        return sum(hunk.removed for hunk in self.hunks)


EDITING_TOOLS = frozenset(
    {
        "editedExistingFile",
        "appliedDiff",
        "newFileCreated",
        "insertContent",
        "searchAndReplace",
    }
)


def edits_of(tool: dict[str, Any]) -> list[FileEdit]:
    """The edits of an editing tool, as its JSON has them. One without hunks could not be read."""
    name = tool.get("tool")
    if name not in EDITING_TOOLS:
        return []
    batch = tool.get("batchDiffs")
    if isinstance(batch, list) and batch:
        return [_batched(entry) for entry in batch[:100] if isinstance(entry, dict)]
    path, content, diff = (_string(tool, key) for key in ("path", "content", "diff"))
    hunks = read_unified(content) or read_unified(diff) or read_blocks(diff) or read_blocks(content)
    is_new = name == "newFileCreated"
    if not hunks and is_new and content:
        hunks = (whole(content),)
    return [FileEdit(path, hunks, is_new)]


def _batched(entry: dict[str, Any]) -> FileEdit:
    content = _string(entry, "content")
    hunks = read_unified(content) or read_blocks(content)
    if not hunks:
        diffs = entry.get("diffs")
        for part in diffs[:100] if isinstance(diffs, list) else []:
            if isinstance(part, dict):
                hunks += read_blocks(_string(part, "content"))
    return FileEdit(_string(entry, "path"), hunks)


def _string(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def whole(content: str) -> Hunk:
    """A new file's content."""
    *lines, last = content.replace("\r\n", "\n").split("\n", MAX_LINES)
    texts = [text + "\n" for text in lines] + ([last] if last else [])
    return Hunk(tuple(Line("+", text) for text in texts), 0, 1, is_numbered=True)


# --- Unified ----------------------------------------------------------------------------------

_HEADER = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_NO_NEWLINE = re.compile(r"[ \t]*(?:\\ )?No newline at end of file", re.IGNORECASE)


def read_unified(text: str) -> tuple[Hunk, ...]:
    """The hunks of a unified diff of one file; none if it is no such diff, or not a whole one."""
    if "@@ -" not in text:
        return ()
    rows = text.replace("\r\n", "\n").split("\n")
    if rows[-1] == "":
        rows.pop()
    if len(rows) > MAX_LINES:
        return ()
    hunks, position = [], 0
    while position < len(rows):
        header = _HEADER.match(rows[position])
        position += 1
        if header is None:
            continue
        body: list[str] = []
        while position < len(rows) and not _HEADER.match(rows[position]):
            body.append(rows[position])
            position += 1
        old_start, old_count, new_start, new_count = (
            int(group) if group else 1 for group in header.groups()
        )
        lines = _counted(body, old_count, new_count)
        if lines is None:
            return ()
        hunks.append(Hunk(lines, old_start, new_start, is_numbered=True))
    return tuple(hunks)


def _counted(rows: list[str], old: int, new: int) -> tuple[Line, ...] | None:
    """The lines of a hunk. An empty row is the blanked marker of a missing newline, or a blank line
    of context whose space was lost: whichever makes the counts come out."""
    for blank_is_marker in (True, False):
        lines = list(_lines(rows, old, new, blank_is_marker=blank_is_marker))
        found_old = sum(line.sign != "+" for line in lines)
        found_new = sum(line.sign != "-" for line in lines)
        if (found_old, found_new) == (old, new):
            return tuple(lines)
    return None


def _lines(rows: list[str], old: int, new: int, *, blank_is_marker: bool) -> Iterator[Line]:
    pending: Line | None = None
    for row in rows:
        if pending and ((row == "" and blank_is_marker) or _NO_NEWLINE.fullmatch(row)):
            yield Line(pending.sign, pending.text[:-1])
            pending = None
            continue
        if pending:
            yield pending
            pending = None
        if old <= 0 and new <= 0:
            return
        sign, text = (row[0], row[1:]) if row else (" ", "")
        if sign not in (" ", "+", "-"):
            continue
        old -= sign != "+"
        new -= sign != "-"
        pending = Line(sign, text + "\n")  # type: ignore[arg-type]  # checked two lines above
    if pending:
        yield pending


# --- SEARCH/REPLACE ---------------------------------------------------------------------------

_START_LINE = re.compile(r":start_line:\s*(\d{1,9})")
_SKIPPED = re.compile(r":(?:start|end)_line:\s*\d*\s*")


def read_blocks(text: str) -> tuple[Hunk, ...]:
    """The hunks of SEARCH/REPLACE blocks; none if there is no whole one."""
    if "<<<<<<< SEARCH" not in text:
        return ()
    hunks: list[Hunk] = []
    start: int | None = None
    old: list[str] = []
    new: list[str] = []
    side: list[str] | None = None
    is_head = False
    for row in text.replace("\r\n", "\n").split("\n")[:MAX_LINES]:
        if row.startswith("<<<<<<< SEARCH"):
            start, old, new, is_head = None, [], [], True
            side = old
        elif side is old and is_head and (found := _START_LINE.match(row)):
            start = int(found[1])
        elif side is old and is_head and _SKIPPED.fullmatch(row):
            continue
        elif side is old and is_head and row == "-------":
            is_head = False
        elif side is old and row == "=======":
            side = new
        elif side is new and row.startswith(">>>>>>> REPLACE"):
            hunks.append(Hunk(tuple(compared(old, new)), start, start))
            side = None
        elif side is not None:
            is_head = False
            side.append(row + "\n")
    return tuple(hunks)


def compared(old: list[str], new: list[str]) -> Iterator[Line]:
    """What leads from some lines to others: those that they share are context."""
    if len(old) * len(new) > _MAX_COMPARED:
        yield from (Line("-", text) for text in old)
        yield from (Line("+", text) for text in new)
        return
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            yield from (Line(" ", text) for text in old[old_from:old_to])
        else:
            yield from (Line("-", text) for text in old[old_from:old_to])
            yield from (Line("+", text) for text in new[new_from:new_to])
