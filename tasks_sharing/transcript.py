"""A conversation as one reader sees it. Every page, file and summary of it is made of what
``Transcript.read`` gives, so what is kept from a reader is kept from all of them.

Nothing here runs on an event loop, and each part of the work is bounded (F7): a window has a number
of messages, a message a size, a page a budget of rendering (markup.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.safestring import SafeString

from roocloud.lib import wire
from roocloud.lib.text import clean_label
from tasks_sharing import images, markup, masking, patch, queries
from tasks_sharing.conversation import Item, Spoken, items, spoken
from tasks_sharing.diffs import FileEdit
from tasks_sharing.markup import Part
from tasks_sharing.masking import Masks
from tasks_sharing.models import Message, Task

WINDOW = 100
#: To be raised when the same messages become another page.
_VERSION = 2
_MAX_FOUND = 50
_MAX_ENTRIES = 300
_RESULT_CHARS = 4_000
#: Of a file that are made at once.
_FILE_CHARS = 8 * 2**20
#: Kinds that the overview is made of.
_TOLD = frozenset(
    {
        "text", "user_feedback", "user_feedback_diff", "user_edit_todos", "completion_result",
        "tool", "command", "followup", "api_req_failed", "error", "diff_error", "rooignore_error",
        "condense_context_error", "mistake_limit_reached",
    }
)  # fmt: skip
_EDITING = frozenset({"tool", "user_feedback_diff"})


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


class Window:
    """Some consecutive messages. key: of their content; items: rendered when first asked for, which
    is never where the cache has the HTML of the key."""

    def __init__(self, messages: list[Message], *, opens: bool, salt: str) -> None:
        self.messages = messages
        self._opens = opens
        content = sha256(f"{_VERSION}\0{salt}\0{opens}".encode())
        for message in messages:
            content.update(f"\0{message.pk}\0{message.body}".encode())
        self.key = content.hexdigest()

    @property
    def is_empty(self) -> bool:
        return not self.messages

    @cached_property
    def items(self) -> list[Item]:
        return items(self.messages, opens=self._opens)


class Transcript:
    """path: of the page that it is read on; links to messages and images are below it. masks: what
    its readers do not see."""

    def __init__(self, task: Task, *, path: str, masks: Masks = masking.NONE) -> None:
        self.task = masks.task(task)
        self.path = path
        self._masks = masks

    def read(self, rows: QuerySet[Message], *, is_bounded: bool = True) -> Iterator[Message]:
        """Messages as this reader may have them."""
        for message in queries.read(rows, is_bounded=is_bounded):
            yield self._masks.message(message)

    @cached_property
    def span(self) -> dict[str, Any]:
        return queries.span(self.task)

    @cached_property
    def version(self) -> str:
        """Another one whenever a message came, changed or went, or is masked otherwise."""
        task = self.task
        changed = task.last_activity_at, task.backfilled_at
        state = (_VERSION, self.path, task.pk, *changed, self.span, self._masks.version)
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
        salt = f"{self.path}\0{self.task.owner.name}"
        return Window(list(self.read(rows)), opens=page.number == 1, salt=salt)

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
        totals: dict[str, FileTotal] = {}
        result = ""
        approved = queries.approved_until(self.task)
        for one in spoken(self.read(rows), opens=True, approved_until=approved):
            block = one.block
            place = places.get(one.message.pk, 0)
            label = clean_label(block.source.strip().partition("\n\n")[0] or block.label, 140)
            entry = Entry(block.form, label or "Image", one.anchor, place)
            if block.form in ("prompt", "result") and len(view.contents) < _MAX_ENTRIES:
                view.contents.append(entry)
            if block.form == "result":
                result, view.result_entry = block.source, entry
            view.todos = block.todos or view.todos
            view.commands += block.form == "command"
            view.questions += block.form == "question"
            view.failures += block.state == "bad"
            for edit in block.edits if block.state != "refused" else ():
                _add(totals, edit, entry)
        view.files = sorted(totals.values(), key=lambda file: file.path)
        if view.result_entry:
            ((view.result, _),) = markup.render([Part(markup.markdown, result[:_RESULT_CHARS])])
        return view

    def changes(self) -> patch.Changes:
        """What all edits come to, file by file."""
        rows = queries.telling(self.task, kinds=_EDITING, opening=None)
        approved = queries.approved_until(self.task)
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
            lines.append(wire.dumps(images.put_back(self.task, row.document)))
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


def _add(totals: dict[str, FileTotal], edit: FileEdit, entry: Entry) -> None:
    path = clean_label(edit.path, 300)
    if path not in totals and len(totals) >= _MAX_ENTRIES:
        return
    total = totals.setdefault(path, FileTotal(path, is_new=edit.is_new))
    total.added += edit.added
    total.removed += edit.removed
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
