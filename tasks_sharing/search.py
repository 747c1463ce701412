"""Full-text search: the words of a task's title and of what its user said.

The words of each task lie in a row of their own (TaskText), written anew from the messages whenever
a user's text came, changed or went, a moment after: recording only marks the task. PostgreSQL looks
them up by a GIN index, SQLite by an FTS5 table that triggers keep.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func
from django.db.models.sql.compiler import SQLCompiler

from tasks_sharing import queries
from tasks_sharing.models import Task, TaskText

#: Different words of one task that are looked up, and characters of one word.
MAX_WORDS, MAX_WORD = 5_000, 60
#: Words of one question.
MAX_ASKED = 12
#: No task's place is after it.
MAX_PLACE = 2**63 - 1
_WORD = re.compile(r"[^\W_]+")
_TURN = 100


def words_of(text: str) -> Iterable[str]:
    """The words of a text as they are stored and asked for, one by one."""
    for found in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        yield found[0][:MAX_WORD]


# --- Asking -----------------------------------------------------------------------------------


def read(text: str) -> list[tuple[str, bool]]:
    """What somebody asks for: words, each with whether it is the beginning of one ("retr*"). Empty
    for a text without a word. Nothing that is typed is an operator or fails."""
    asked: dict[tuple[str, bool], None] = {}
    for part in text[:1000].split():
        *whole, last = list(words_of(part)) or [""]
        asked.update(dict.fromkeys((word, False) for word in whole))
        if last:
            asked[last, part.endswith("*")] = None
    return list(asked)[:MAX_ASKED]


class _Matches(Func):
    """Whether a TaskText has all the words. scope: a word of those that own it; on SQLite no more
    than ``limit`` match, the newest before ``before``."""

    output_field = BooleanField()

    def __init__(
        self, asked: list[tuple[str, bool]], *, scope: str, before: int, limit: int
    ) -> None:
        super().__init__(F("words"))
        self._asked, self._scope, self._before, self._limit = asked, scope, before, limit

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        words = " ".join(f'"{word}"{"*" if begins else ""}' for word, begins in self._asked)
        found = (
            "SELECT rowid FROM tasks_sharing_search WHERE tasks_sharing_search MATCH %s"
            " AND rowid < %s ORDER BY rowid DESC LIMIT %s"
        )
        asked = f'scope : "{self._scope}" AND words : ({words})'
        return f"id IN ({found})", [asked, self._before, self._limit]

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        words = " & ".join(f"'{word}'{':*' if begins else ''}" for word, begins in self._asked)
        return "vector @@ %s::tsquery", [words]


def find(
    asked: list[tuple[str, bool]],
    *,
    owner_id: str | None,
    organization_id: str | None,
    before: int,
    limit: int,
) -> list[int]:
    """Places (TaskText.pk) of tasks with all the words, newest first, at most ``limit`` of those
    before one. owner_id: None for everybody's of the organization.

    What is found is to be shown through a queryset that says who may see it.
    """
    owned = (owner_id or "") + (organization_id or "")
    matches = _Matches(asked, scope=_scope(owned), before=before, limit=limit)
    rows = TaskText.unscoped.filter(matches)
    if connection.vendor != "sqlite":  # which found the scope among the words
        rows = rows.filter(organization_id=organization_id, pk__lt=before)
        if owner_id is not None:
            rows = rows.filter(owner_id=owner_id)
    return list(rows.order_by("-pk").values_list("pk", flat=True)[:limit])


def _scope(owned: str) -> str:
    """As the triggers of SQLite write it: one word."""
    return re.sub(r"[^A-Za-z0-9]", "", owned)


# --- Keeping ----------------------------------------------------------------------------------


def place_of(task: Task) -> int:
    """The task's place among all, by when it began: milliseconds, and 21 bits that tell tasks of
    one millisecond apart."""
    began = max(int(task.created_at.timestamp() * 1000), 0)
    return began << 21 | int.from_bytes(sha256(task.pk.encode()).digest()[:4]) >> 11


def index(*, task_pk: str) -> None:
    """Write down the words of a task, as it is now. Run twice or at once, it does no harm."""
    with transaction.atomic():
        # Locked: a message that comes meanwhile marks the task again after this.
        task = Task.unscoped.select_for_update().filter(pk=task_pk).first()
        if task is None:
            return
        words = " ".join(_words(task))
        if not TaskText.unscoped.filter(task=task).update(words=words):
            TaskText.unscoped.create(
                id=place_of(task),
                task=task,
                owner_id=task.owner_id,
                organization_id=task.organization_id,
                words=words,
            )
        Task.unscoped.filter(pk=task.pk).update(words_due=False)


def _words(task: Task) -> list[str]:
    found = dict.fromkeys(words_of(task.title))
    for text in queries.told_by_user(task):
        for word in words_of(text):
            if len(found) >= MAX_WORDS:
                return list(found)
            found[word] = None
    return list(found)


def index_due(*, is_time_up: Callable[[], bool]) -> bool:
    """Write down the words of every task that is marked; True if time was up before the last."""
    while due := list(Task.unscoped.filter(words_due=True).values_list("pk", flat=True)[:_TURN]):
        for pk in due:
            index(task_pk=pk)
            if is_time_up():
                return True
    return False
