"""A conversation as one reader sees it. Every page, file and summary of it is made of what
``Transcript.read`` gives, so what is kept from a reader is kept from all of them.

Nothing here runs on an event loop, and each part of the work is bounded (F7): a window has a number
of messages, a message a size, a page a budget of rendering (markup.py).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.safestring import SafeString

from roocloud.lib import wire
from roocloud.lib.text import clean_label
from tasks_sharing import gists, images, markup, masking, patch, queries
from tasks_sharing.conversation import Item, Spoken, anchor_of, instant, items, spoken
from tasks_sharing.gists import Change, Gist, gist_of
from tasks_sharing.markup import Part
from tasks_sharing.masking import Masks
from tasks_sharing.messages import TITLE_CHARS
from tasks_sharing.models import Message, Task

WINDOW = 100
#: To be raised when the same messages become another page.
_VERSION = 2
#: No editor of this family is older: an earlier time is that of a clock that was never set.
_OLDEST = datetime(2024, 1, 1, tzinfo=UTC)
_MAX_FOUND = 50
_MAX_ENTRIES = 300
NO_FAMILY = queries.Family()
_RESULT_CHARS = 4_000
#: Of a file that are made at once.
_FILE_CHARS = 8 * 2**20
#: Kinds whose messages the overview reads; of others it has gists.
_TOLD = frozenset({"text", "user_feedback", "completion_result"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the table of contents. place: of its message in the conversation, from 0."""

    form: str
    label: str
    anchor: str
    place: int

    @property
    def window(self) -> int:
        return self.place // WINDOW + 1


@dataclass(slots=True)
class FileTotal:
    """What the edits of a file come to, one by one added up."""

    path: str
    added: int = 0
    removed: int = 0
    is_new: bool = False
    entries: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class Overview:
    """What a conversation came to: what was asked, which files changed, and whether it worked.

    result: HTML of the last closing text, and the entry of its message; None if there is none.
    """

    contents: list[Entry] = field(default_factory=list)
    files: list[FileTotal] = field(default_factory=list)
    todos: list[tuple[str, str]] = field(default_factory=list)  # (state, text), the last list
    result: SafeString | None = None
    result_entry: Entry | None = None
    commands: int = 0
    questions: int = 0
    failures: int = 0

    @property
    def added(self) -> int:
        return sum(file.added for file in self.files)

    @property
    def removed(self) -> int:
        return sum(file.removed for file in self.files)

    @property
    def done(self) -> int:
        return sum(state == "completed" for state, _ in self.todos)


@dataclass(frozen=True, slots=True)
class Found:
    """A place that a search found: the text around it."""

    before: str
    match: str
    after: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Noted:
    """The gist of a message, and where that is."""

    pk: int
    ts: int
    type: str
    kind: str
    gist: Gist


class Window:
    """Some consecutive messages. key: of what is shown of them; they are read and rendered when
    first asked for, which is never where the cache has the HTML of the key."""

    def __init__(self, rows: Callable[[], Iterable[Message]], *, opens: bool, key: str) -> None:
        self._rows = rows
        self._opens = opens
        self.key = key

    @cached_property
    def messages(self) -> list[Message]:
        return list(self._rows())

    @cached_property
    def items(self) -> list[Item]:
        return items(self.messages, opens=self._opens)


class Transcript:
    """path: of the page that it is read on; links to messages and images are below it. masks: what
    its readers do not see. author: what they call the owner, which is not always the name. family:
    the tasks around it, for readers who may open those."""

    def __init__(
        self,
        task: Task,
        *,
        path: str,
        masks: Masks = masking.NONE,
        family: queries.Family = NO_FAMILY,
    ) -> None:
        self.task = masks.task(task)
        self.path = path
        self.author = masks.author(task)
        self.family = family
        self._masks = masks

    def read(self, rows: QuerySet[Message], *, is_bounded: bool = True) -> Iterator[Message]:
        """Messages as this reader may have them."""
        for message in queries.read(rows, is_bounded=is_bounded):
            yield self._masks.message(message)

    @cached_property
    def span(self) -> dict[str, Any]:
        return queries.span(self.task)

    @cached_property
    def began_at(self) -> datetime:
        """When the first message was written, by the editor's clock; when the task came here, if
        nothing is known that is earlier. An imported task is older than its row."""
        first = instant(self.span["first_ms"] or 0)
        return first if _OLDEST < first < self.task.created_at else self.task.created_at

    @cached_property
    def version(self) -> str:
        """Another one whenever a message came, changed or went, or is masked otherwise."""
        task = self.task
        changed = task.last_activity_at, task.backfilled_at
        kin = [(one.task_id, one.title, one.status) for one in self._kin]
        state = (_VERSION, self.path, task.pk, *changed, self.span, self._masks.version, kin)
        return sha256(repr(state).encode()).hexdigest()

    # --- Windows ------------------------------------------------------------------------------

    def page(self, number: int | str | None, *, at: str = "") -> Page[int]:
        """The page of a number, or the one that a message of a ``ts`` is on."""
        if at.isascii() and at.isdigit() and len(at) < 17:
            before = queries.messages_of(self.task).filter(ts__lt=int(at)).count()
            number = min(before, self.span["count"] - 1) // WINDOW + 1
        return Paginator(range(self.span["count"]), WINDOW).get_page(number)

    def window(self, page: Page[int]) -> Window:
        start = (page.number - 1) * WINDOW
        rows = queries.messages_of(self.task)[start : start + WINDOW]
        key = sha256(f"{self.version}\0{page.number}\0{self.author}".encode()).hexdigest()
        return Window(lambda: self.read(rows), opens=page.number == 1, key=key)

    def everything(self) -> list[Spoken]:
        """Every block of the conversation, unrendered."""
        return spoken(self.read(queries.messages_of(self.task)), opens=True)

    # --- The whole ----------------------------------------------------------------------------

    @cached_property
    def overview(self) -> Overview:
        """Templates ask for it where the cache has nothing for the version."""
        order = queries.places(self.task)
        places = {pk: place for place, (pk, _) in enumerate(order)}
        opening = next((pk for pk, kind in order if kind == "text"), None)
        rows = queries.telling(self.task, kinds=_TOLD, opening=opening)
        view = Overview()
        result = ""
        for one in spoken(self.read(rows), opens=True):
            block = one.block
            if block.form in ("prompt", "result"):
                label = clean_label(block.source.strip().partition("\n\n")[0] or block.label, 140)
                place = places.get(one.message.pk, 0)
                entry = Entry(block.form, label or "Image", one.anchor, place)
                if len(view.contents) < _MAX_ENTRIES:
                    view.contents.append(entry)
                if block.form == "result":
                    result, view.result_entry = block.source, entry
        forms = Counter(one.gist.form for one in self._gists)
        view.commands, view.questions = forms["command"], forms["question"]
        view.failures = forms["error"]
        view.files = self._files(places)
        view.todos = self._todos()
        if view.result_entry:
            ((view.result, _),) = markup.render([Part(markup.markdown, result[:_RESULT_CHARS])])
        return view

    @cached_property
    def _gists(self) -> list[Noted]:
        """As this reader may know of them, in their order."""
        rows = queries.messages_of(self.task, kinds=gists.KINDS).exclude(gist="")
        found, is_whole = [], not self._masks.files
        for pk, ts, type_, kind, gist in rows.values_list("pk", "ts", "type", "kind", "gist"):
            if gist is None:
                is_whole = False
            elif not self._masks.hides((ts, type_, kind)):
                found.append(Noted(pk, ts, type_, kind, self._masks.gist(gists.loads(gist))))
        if is_whole:
            return found
        # Some are of an earlier version, or not all of each file is for this reader.
        return [
            Noted(row.pk, row.ts, row.type, row.kind, gist_of(row.type, row.kind, row.document))
            for row in self.read(rows)
        ]

    @cached_property
    def _approved_until(self) -> int:
        """``ts`` of the last tool that was approved, as far as is known; -1 if none is."""
        asked = (one.ts for one in self._gists if one.type == "ask" and one.gist.is_answered)
        return max(asked, default=-1)

    def _files(self, places: Mapping[int, int]) -> list[FileTotal]:
        """What became of each file, by path. places: of the messages."""
        totals: dict[str, FileTotal] = {}
        for one in self._gists:
            is_asked = (one.type, one.kind) == ("ask", "tool")
            if is_asked and not one.gist.is_answered and one.ts < self._approved_until:
                continue  # it was refused
            for change in one.gist.changes:
                entry = Entry("edit", "", anchor_of(one.ts, one.kind), places.get(one.pk, 0))
                _add(totals, change, entry)
        return sorted(totals.values(), key=lambda file: file.path)

    def _todos(self) -> list[tuple[str, str]]:
        """The last to-do list."""
        last = next((one.pk for one in reversed(self._gists) if one.gist.has_todos), None)
        if last is None:
            return []
        rows = queries.messages_of(self.task).filter(pk=last)
        return [todo for one in spoken(self.read(rows), opens=False) for todo in one.block.todos]

    def changes(self) -> patch.Changes:
        """What all edits come to, file by file."""
        rows = queries.editing(self.task)
        approved = self._approved_until
        return patch.changes_of(
            patch.Edit(
                one.anchor,
                edit,
                is_refused=one.block.state == "refused",
                is_outside=one.block.is_outside,
            )
            for one in spoken(self.read(rows), opens=False, approved_until=approved)
            for edit in one.block.edits
        )

    @property
    def _kin(self) -> list[Task]:
        parent = self.family.parent
        return [*([parent] if parent else []), *self.family.children]

    def started(self, item: Item) -> Task | None:
        """The subtask that a block began: the first one after it by the editor's clock whose prompt
        is what the block gives to do. None if it did not come here, and for any other block."""
        title = clean_label(item.block.source, TITLE_CHARS)
        if item.block.form != "subtask" or not title:
            return None
        after = [
            child
            for child in self.family.children
            if child.title == title and child.title_ts is not None and child.title_ts >= item.ts
        ]
        return min(after, key=lambda child: (child.title_ts, child.pk), default=None)

    def link(self, anchor: str) -> str:
        """The address of a message, below the site."""
        return f"{self.path}?at={anchor[1:].partition('-')[0]}#{anchor}"

    def find(self, text: str) -> list[Found]:
        """The first places where the conversation has a text, whatever its case."""
        wanted, found = re.compile(re.escape(text), re.IGNORECASE), []
        places = {pk: place for place, (pk, _) in enumerate(queries.places(self.task))}
        for one in self.everything():
            whole = "\n".join([one.block.label, *(part.text for _, part in one.block.parts)])
            match = wanted.search(whole)
            if match is None:
                continue
            label = _SPEAKERS.get(one.block.form, one.block.label)
            entry = Entry(one.block.form, label, one.anchor, places.get(one.message.pk, 0))
            first, last = match.span()
            before, after = whole[max(first - 60, 0) : first], whole[last : last + 120]
            found.append(Found(before, match[0], after, entry))
            if len(found) == _MAX_FOUND:
                break
        return found

    # --- Files --------------------------------------------------------------------------------

    def json_lines(self, start: int) -> list[str]:
        """Up to WINDOW messages from a place on, each as JSON, whole, its images in it. Fewer where
        they are large: empty only at the end."""
        lines, left = [], _FILE_CHARS
        rows = queries.messages_of(self.task)[start : start + WINDOW]
        for row in self.read(rows, is_bounded=False):
            whole = images.put_back(self.task, row.document, bare=self._masks.is_public)
            lines.append(wire.dumps(whole))
            left -= len(lines[-1])
            if left < 0:
                break
        return lines

    def as_patch(self, *, site: str) -> Iterator[str]:
        """All edits as one patch. site: the beginning of the links in it."""
        title = self.task.title or "Task"
        return patch.text_of(self.changes(), title=title, link=lambda a: site + self.link(a))

    def as_markdown(self) -> Iterator[str]:
        """What was said and done, for people and for other programs that read Markdown."""
        yield f"# {clean_label(self.task.title, 200) or 'Task'}\n"
        for one in self.everything():
            yield from _markdown_of(one)


def _add(totals: dict[str, FileTotal], change: Change, entry: Entry) -> None:
    path = clean_label(change.path, 300)
    if path not in totals and len(totals) >= _MAX_ENTRIES:
        return
    total = totals.setdefault(path, FileTotal(path, is_new=change.is_new))
    total.added += change.added
    total.removed += change.removed
    if len(total.entries) < _MAX_ENTRIES:
        total.entries.append(entry)


_SPEAKERS = {"prompt": "User", "reply": "Agent", "result": "Result", "question": "Question"}


def _markdown_of(one: Spoken) -> Iterator[str]:
    block = one.block
    if speaker := _SPEAKERS.get(block.form):
        yield f"\n## {speaker}\n\n{block.source.strip()}\n"
    elif block.label:
        yield f"\n**{block.label}**{f' ({block.hint})' if block.hint else ''}\n"
    for suggestion in block.suggestions:
        yield f"- {suggestion.answer}{' (chosen)' if suggestion.is_chosen else ''}\n"
    for state, text in block.todos:
        yield f"- [{'x' if state == 'completed' else ' '}] {text}\n"
    if block.form in _SPEAKERS:
        return
    for heading, part in block.parts:
        if heading:
            yield f"\n{heading}:\n"
        if part.render is markup.markdown:
            yield f"\n{part.text.strip()}\n"
        else:
            fence = _fence(part.text)
            kind = "diff" if part.render is markup.diff else ""
            yield f"\n{fence}{kind}\n{part.text.rstrip()}\n{fence}\n"


def _fence(text: str) -> str:
    """More backticks than the text has in a row."""
    longest = max(map(len, re.findall("`{3,}", text)), default=2)
    return "`" * (longest + 1)
