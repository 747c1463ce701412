"""All edits of a conversation as one patch that ``git apply`` takes (N12). Pure.

A file is followed from its first edit to its last: of the original only the lines are known that
some diff showed, everything between them is a gap of known length. So an edit that was refused in
the editor shows: the next edit of the file does not find its lines.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from roocloud.lib.text import clean_label
from tasks_sharing.diffs import FileEdit, Hunk, Line, compared

_CONTEXT = 3
#: Lines that may be looked at while a patch is made, all files together (F7).
_MAX_STEPS = 4_000_000
_ENDLESS = 2**40

REFUSED = "It was refused in the editor."
REPLACED = "A later edit of the file does not contain it; it was refused, or undone."
UNREADABLE = "The editor sent neither a diff nor the file's content."
OUTSIDE = "The file is outside of the workspace."
UNPLACED = "The editor sent it without the lines around it, so its place is not certain."
MISFIT = "It does not fit what the conversation shows of the file."
TOO_MUCH = "The conversation has more edits than one patch is made of."


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit and the message that made it. anchor: of that message, on the page."""

    anchor: str
    file: FileEdit
    is_refused: bool = False
    is_outside: bool = False


@dataclass(frozen=True, slots=True)
class ChangedHunk:
    """lines of one place of a file; anchors: of the messages that had a part in it."""

    hunk: Hunk
    anchors: tuple[str, ...]

    @property
    def last_line(self) -> int:
        """The number of its last line in the file afterwards."""
        count = sum(line.sign != "-" for line in self.hunk.lines)
        return (self.hunk.new_start or 0) + max(count - 1, 0)


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """What became of a file, all edits together."""

    path: str
    is_new: bool
    hunks: tuple[ChangedHunk, ...]

    @property
    def added(self) -> int:
        return sum(changed.hunk.added for changed in self.hunks)

    @property
    def removed(self) -> int:
        return sum(changed.hunk.removed for changed in self.hunks)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An edit that is not in the patch, and why."""

    path: str
    anchor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    files: tuple[ChangedFile, ...]
    left_out: tuple[LeftOut, ...]


# --- One file, as far as it is known ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """A line of the present file. origin: its number in the original; None for a line that an edit
    brought, by the message of that anchor."""

    text: str
    origin: int | None
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class _Gap:
    """Lines of the original that no diff showed."""

    origin: int
    count: int


@dataclass(frozen=True, slots=True)
class _State:
    """pieces: the present file in order. gone: original lines that an edit took out, by number.
    is_new: there was no original."""

    pieces: tuple[_Known | _Gap, ...]
    gone: dict[int, tuple[str, str]] = field(default_factory=dict)
    is_new: bool = False


class _Misfit(Exception):
    """An edit does not fit the file as it is known."""


class _TooMuch(Exception):
    """The work is more than one patch is worth."""


@dataclass(slots=True)
class _Work:
    steps: int = 0

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > _MAX_STEPS:
            raise _TooMuch


def _same(one: str, other: str) -> bool:
    return one.rstrip("\r\n") == other.rstrip("\r\n")


def _changed(state: _State, edit: Edit, work: _Work) -> _State:
    """The file after an edit. Raises _Misfit."""
    shift = 0
    for hunk in edit.file.hunks:
        old = [line.text for line in hunk.lines if line.sign != "+"]
        work.spend(len(state.pieces) + len(hunk.lines))
        at = None
        if hunk.old_start is not None:
            # A diff without old lines names the line before the place, one of blocks the place.
            first = hunk.old_start + (1 if hunk.is_numbered and not old else 0)
            at = max(first + shift, 1)
        try:
            state = _hunk_at(state, at or _place_of(state, old, work), hunk, edit.anchor)
        except _Misfit:
            state = _hunk_at(state, _place_of(state, old, work), hunk, edit.anchor)
        shift += hunk.added - hunk.removed
    return state


def _place_of(state: _State, old: list[str], work: _Work) -> int:
    """The number of the line where known lines read like ``old``. Raises _Misfit unless exactly one
    place does."""
    if not old:
        raise _Misfit
    found, number = [], 1
    for index, piece in enumerate(state.pieces):
        if isinstance(piece, _Gap):
            number += piece.count
            continue
        if _same(piece.text, old[0]):
            window = state.pieces[index : index + len(old)]
            work.spend(len(window))
            if len(window) == len(old) and all(
                isinstance(known, _Known) and _same(known.text, text)
                for known, text in zip(window, old, strict=True)
            ):
                found.append(number)
        number += 1
    if len(found) != 1:
        raise _Misfit
    return found[0]


def _hunk_at(state: _State, at: int, hunk: Hunk, anchor: str) -> _State:
    before, rest = _split(state.pieces, at - 1)
    pieces = list(before)
    gone = dict(state.gone)
    queue = list(reversed(rest))
    for line in hunk.lines:
        if line.sign == "+":
            pieces.append(_Known(line.text, None, anchor))
            continue
        if not queue:
            raise _Misfit
        piece = queue.pop()
        if isinstance(piece, _Gap):
            if piece.count > 1:
                queue.append(_Gap(piece.origin + 1, piece.count - 1))
            piece = _Known(line.text, piece.origin)
        elif not _same(piece.text, line.text):
            raise _Misfit
        if line.sign == " ":
            pieces.append(_Known(line.text, piece.origin, piece.anchor))
        elif piece.origin is not None:
            gone[piece.origin] = (line.text, anchor)
    if not (_ends_the_file(hunk) and len(queue) == 1 and isinstance(queue[0], _Gap)):
        pieces.extend(reversed(queue))
    return _State(tuple(pieces), gone, state.is_new)


def _ends_the_file(hunk: Hunk) -> bool:
    """Whether a unified diff would have shown more lines after what it changes, were there any."""
    signs = "".join(line.sign for line in hunk.lines)
    has_context = signs.startswith(" ") or hunk.old_start in (0, 1)
    return hunk.is_numbered and has_context and not signs.endswith(" " * _CONTEXT)


def _split(
    pieces: tuple[_Known | _Gap, ...], count: int
) -> tuple[list[_Known | _Gap], list[_Known | _Gap]]:
    """The first ``count`` lines, and the others. Raises _Misfit if there are not as many."""
    for index, piece in enumerate(pieces):
        if count == 0:
            return list(pieces[:index]), list(pieces[index:])
        size = piece.count if isinstance(piece, _Gap) else 1
        if isinstance(piece, _Gap) and size > count:
            head = _Gap(piece.origin, count)
            tail = _Gap(piece.origin + count, size - count)
            return [*pieces[:index], head], [tail, *pieces[index + 1 :]]
        count -= size
    if count:
        raise _Misfit
    return list(pieces), []


# --- From edits to what became of the files ---------------------------------------------------


def changes_of(edits: Iterable[Edit]) -> Changes:
    """What became of each file, in the order of their first edits, and what is not in it."""
    by_path: dict[str, list[Edit]] = {}
    left_out: list[LeftOut] = []
    for edit in edits:
        path = _clean_path(edit.file.path)
        if edit.is_refused:
            left_out.append(LeftOut(edit.file.path, edit.anchor, REFUSED))
        elif path is None or edit.is_outside:
            left_out.append(LeftOut(edit.file.path, edit.anchor, OUTSIDE))
        elif not edit.file.hunks:
            left_out.append(LeftOut(edit.file.path, edit.anchor, UNREADABLE))
        else:
            by_path.setdefault(path, []).append(edit)
    work = _Work()
    files = []
    for path, of_file in by_path.items():
        followed, missing = _followed(of_file, work)
        left_out.extend(LeftOut(path, edit.anchor, reason) for edit, reason in missing)
        if followed is None:
            continue
        hunks = list(_hunks(followed))
        for changed, is_placed in hunks:
            if not is_placed:
                left_out.extend(LeftOut(path, anchor, UNPLACED) for anchor in changed.anchors)
        if placed := tuple(changed for changed, is_placed in hunks if is_placed):
            files.append(ChangedFile(path, followed.is_new, placed))
    return Changes(tuple(files), tuple(left_out))


def _followed(edits: list[Edit], work: _Work) -> tuple[_State | None, list[tuple[Edit, str]]]:
    """A file after its edits. Each of them is tried on what the ones before it left; if it does not
    fit, without the last of those, which then was never made."""
    states: list[tuple[_State | None, Edit | None]] = [(None, None)]
    missing: list[tuple[Edit, str]] = []
    for position, edit in enumerate(edits):
        state, last = states[-1]
        if edit.file.is_new and state is not None and state.is_new:
            missing.extend((earlier, REPLACED) for _, earlier in states if earlier)
            state, last = states[0]
            states = [states[0]]
        try:
            try:
                states.append((_next(state, edit, work), edit))
            except _Misfit:
                if last is None:
                    raise
                state = _next(states[-2][0], edit, work)
                missing.append((last, REPLACED))
                states[-1] = (state, edit)
        except _Misfit:
            missing.append((edit, MISFIT))
        except _TooMuch:
            missing.extend((late, TOO_MUCH) for late in edits[position:])
            break
    return states[-1][0], missing


def _next(state: _State | None, edit: Edit, work: _Work) -> _State:
    if edit.file.is_new:
        if state is not None:
            raise _Misfit
        state = _State((), is_new=True)
    return _changed(state or _State((_Gap(1, _ENDLESS),)), edit, work)


@dataclass(frozen=True, slots=True)
class _Step:
    """A line of the difference, with its number before and after, and the anchor of its message."""

    line: Line
    old: int
    new: int
    anchor: str


def _hunks(state: _State) -> Iterator[tuple[ChangedHunk, bool]]:
    """The hunks, and of each whether git would know its place: without a known line before (or
    after) what changes, it insists on the beginning (or the end) of the file."""
    steps = list(_steps(state))
    changed = [index for index, step in enumerate(steps) if step and step.line.sign != " "]
    if not changed:
        return
    groups = [[changed[0]]]
    for before, index in pairwise(changed):
        is_apart = index - before > 2 * _CONTEXT or None in steps[before:index]
        if is_apart:
            groups.append([])
        groups[-1].append(index)
    for group in groups:
        first, last = group[0], group[-1]
        while first > 0 and steps[first - 1] and group[0] - first < _CONTEXT:
            first -= 1
        while last + 1 < len(steps) and steps[last + 1] and last - group[-1] < _CONTEXT:
            last += 1
        some = [step for step in steps[first : last + 1] if step]
        anchors = dict.fromkeys(step.anchor for step in some if step.line.sign != " ")
        old_start = next((s.old for s in some if s.line.sign != "+"), some[0].old - 1)
        new_start = next((s.new for s in some if s.line.sign != "-"), some[0].new - 1)
        lines = tuple(step.line for step in some)
        is_placed = (lines[0].sign == " " or first == 0) and (
            lines[-1].sign == " " or last == len(steps) - 1
        )
        hunk = Hunk(lines, old_start, new_start, is_numbered=True)
        yield ChangedHunk(hunk, tuple(filter(None, anchors))), is_placed


def _steps(state: _State) -> Iterator[_Step | None]:
    """The difference between the original and the present file; None for a gap."""
    old = new = 1
    arrived: list[_Known] = []

    def changed(until: int) -> Iterator[_Step]:
        nonlocal old, new
        leaving = [state.gone[number] for number in range(old, until)]
        came = dict(reversed([(known.text, known.anchor) for known in arrived]))
        left = dict(reversed(leaving))
        block = compared([text for text, _ in leaving], [known.text for known in arrived])
        for line in block:
            anchor = (came if line.sign == "+" else left).get(line.text, "")
            yield _Step(line, old, new, anchor)
            old += line.sign != "+"
            new += line.sign != "-"
        arrived.clear()

    for piece in state.pieces:
        if isinstance(piece, _Known) and piece.origin is None:
            arrived.append(piece)
            continue
        yield from changed(piece.origin or 0)
        if isinstance(piece, _Gap):
            yield None
            old += piece.count
            new += piece.count
        else:
            yield _Step(Line(" ", piece.text), old, new, "")
            old += 1
            new += 1
    yield from changed(max(state.gone, default=0) + 1)


# --- The text of a patch ----------------------------------------------------------------------

_QUOTED = re.compile(r'["\\\x00-\x1f\x7f]')


def _clean_path(path: str) -> str | None:
    """The path below the workspace; None for one that does not stay there."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    is_absolute = path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:[\\/]", path)
    if not parts or is_absolute or ".." in parts or ".git" in parts:
        return None
    return "/".join(parts)


def _name(path: str) -> str:
    if not _QUOTED.search(path):
        return path
    return '"' + _QUOTED.sub(lambda found: f"\\{ord(found[0]):03o}", path) + '"'


def text_of(changes: Changes, *, title: str, link: Callable[[str], str]) -> Iterator[str]:
    """The patch, in pieces. link: from the anchor of a message to its address. What stands before
    the first file is for people; git passes over it, and over what follows the @@ of a hunk."""
    yield f"{clean_label(title, 300)}\n"
    for left in changes.left_out:
        path = clean_label(left.path, 300)  # one line: it stands where git looks for files
        yield f"Not in this patch: {path} ({link(left.anchor)}): {left.reason}\n"
    yield "\n"
    for file in changes.files:
        old, new = _name(f"a/{file.path}"), _name(f"b/{file.path}")
        tab = "\t" if " " in file.path else ""
        yield f"diff --git {old} {new}\n"
        if file.is_new:
            yield "new file mode 100644\n"
        yield f"--- {'/dev/null' if file.is_new else old + tab}\n+++ {new}{tab}\n"
        yield from lines_of(file, link)


def lines_of(file: ChangedFile, link: Callable[[str], str] | None = None) -> Iterator[str]:
    """The hunks of a file as text, each with the links to its messages."""
    for changed in file.hunks:
        yield _header(changed.hunk) + " ".join(["", *map(link, changed.anchors)] if link else [])
        yield "\n"
        for line in changed.hunk.lines:
            ending = "" if line.text.endswith("\n") else "\n\\ No newline at end of file\n"
            yield f"{line.sign}{line.text}{ending}"


def _header(hunk: Hunk) -> str:
    old = sum(line.sign != "+" for line in hunk.lines)
    new = sum(line.sign != "-" for line in hunk.lines)
    return f"@@ -{hunk.old_start},{old} +{hunk.new_start},{new} @@"
