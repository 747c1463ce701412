"""What a page of a conversation lacks, when its task went on since it was made.

A page tells which blocks it has, each by the version that it was given with, and gets those that it
lacks and the order of all. So it ends as a reload would show it, whatever it missed (D8): messages
that came late, were replaced, went, or changed what another block says.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.core.paginator import Page
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from tasks_sharing import queries
from tasks_sharing.conversation import Item
from tasks_sharing.models import Task
from tasks_sharing.transcript import Transcript

#: Versions that a page may name; a window has no more.
_MAX_KNOWN = 200
_STILL_WARM = timedelta(hours=1)


def may_come(task: Task, *, at: datetime) -> bool:
    """Whether the task may go on while somebody reads it. One that is completed is often taken up
    again."""
    return task.status == Task.Status.RUNNING or at - task.last_activity_at < _STILL_WARM


@dataclass(frozen=True, slots=True)
class News:
    """order: the version of each block of the window; fresh: those blocks that the page lacks."""

    page: Page[int]
    order: list[str]
    fresh: list[tuple[Item, SafeString, str]]  # item, its HTML, its version


def transcript_of(task: Task) -> Transcript:
    """The conversation as the task's page shows it."""
    path = reverse("task", args=[task.task_id])
    return Transcript(task, path=path, family=queries.family(task))


def version_of(item: Item, body: str) -> str:
    """Another one whenever a block of the page looks different."""
    block = item.block
    content = f"{item.anchor}\0{block.form}\0{block.state}\0{body}"
    return sha256(content.encode()).hexdigest()[:12]


def news(transcript: Transcript, number: str, known: Iterable[str]) -> News:
    """What is new in a window to a page that knows blocks of these versions. number: that of the
    window; one that does not exist is taken for the nearest."""
    page = transcript.page(number)
    has = Counter(known)
    order, fresh = [], []
    for item, body, version in _blocks(transcript, page):
        order.append(version)
        if has[version]:
            has[version] -= 1
        else:
            fresh.append((item, body, version))
    return News(page, order, fresh)


def _blocks(transcript: Transcript, page: Page[int]) -> Iterator[tuple[Item, SafeString, str]]:
    for item in transcript.window(page).items:
        context = {"item": item, "task": transcript.task, "transcript": transcript}
        body = render_to_string(item.template, context)
        yield item, body, version_of(item, body)


def known_in(text: str) -> list[str]:
    """The versions that a page names, separated by dots."""
    return [version for version in text.split(".") if version][:_MAX_KNOWN]
