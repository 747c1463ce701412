"""Reads of tasks, for pages and for other rooms."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    Case,
    Count,
    F,
    Func,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    TextField,
    Value,
    When,
)
from django.db.models.functions import TruncHour
from django.db.models.sql.compiler import SQLCompiler

from accounts import memberships
from accounts.actors import Actor
from orgs import queries as orgs
from roocloud.lib.ids import digest
from tasks_sharing import policy
from tasks_sharing.actions import valid_task_id
from tasks_sharing.models import Import, Message, Share, Task


def my_tasks(actor: Actor) -> QuerySet[Task]:
    """The actor's own in the context that the pages show, newest first."""
    return (
        Task.objects.visible_to(actor)
        .filter(organization_id=actor.organization_id)
        .select_related("owner")
        .order_by("-last_activity_at", "pk")
    )


def team_tasks(actor: Actor) -> QuerySet[Task]:
    """What the policy lets the actor see in a list of their organization."""
    return sight(actor, is_team=True).rows


@dataclass(frozen=True, slots=True)
class Sight:
    """What the policy lets somebody see, as it is at this moment, in a list of their own tasks or
    (is_team) of their organization's. opens_own, opens_others: whether also the conversations."""

    actor: Actor
    is_team: bool
    opens_own: bool = True
    opens_others: bool = False

    @property
    def rows(self) -> QuerySet[Task]:
        """The tasks, latest activity first."""
        actor = self.actor
        if not self.is_team or actor.organization_id is None:
            return my_tasks(actor)
        rows = Task.unscoped.of_organization(actor.organization_id)
        return rows.select_related("owner").order_by("-last_activity_at", "pk")

    @property
    def places(self) -> QuerySet[Task]:
        """The same tasks by their order alone, for counting along it: a web actor belongs to the
        organization. What is shown comes from ``rows``."""
        actor = self.actor
        rows = Task.unscoped.filter(organization_id=actor.organization_id)
        if not self.is_team:
            rows = rows.filter(owner_id=actor.user_id)
        return rows.order_by("-last_activity_at", "pk")

    @property
    def openable(self) -> QuerySet[Task]:
        """Of these, the ones whose conversation they may read (J2)."""
        if not self.opens_own:
            return self.rows.none()
        return self.rows if self.opens_others else self.rows.filter(owner_id=self.actor.user_id)


def sight(actor: Actor, *, is_team: bool) -> Sight:
    """is_team: whether colleagues' tasks are asked for; they are seen as far as the policy goes."""
    if actor.organization_id is None:
        return Sight(actor, is_team=False)
    visibility = policy.task_visibility(orgs.organization_settings(actor).cloud)
    is_open = visibility != "full-lockdown"
    return Sight(
        actor,
        is_team=is_team and is_open and policy.sees_others(visibility, actor.role),
        opens_own=is_open,
        opens_others=policy.opens_others(visibility, actor.role),
    )


def titles(actor: Actor, task_ids: Collection[str]) -> dict[str, str]:
    """By client's id, of those that are the actor's own, in whatever context."""
    rows = Task.objects.visible_to(actor).filter(task_id__in=task_ids)
    return dict(rows.values_list("task_id", "title"))


def find_task(*, task_id: str, viewer_id: str) -> Task | None:
    """The task behind a client's id that the viewer may open: their own first, else a colleague's
    where the policy of its organization allows it now (J2)."""
    rows = (
        Task.unscoped.filter(task_id=valid_task_id(task_id))
        .select_related("owner", "organization")
        .order_by("created_at", "pk")[:20]
    )
    for task in sorted(rows, key=lambda task: task.owner_id != viewer_id):
        role = (
            memberships.role_of(user_id=viewer_id, organization_id=task.organization_id)
            if task.organization_id
            else None
        )
        cloud = orgs.settings_of(task.organization_id).cloud
        if policy.may_open(task, viewer_id=viewer_id, viewer_role=role, cloud=cloud):
            return task
    return None


#: Subtasks of one task that its page names.
MAX_SUBTASKS = 50


@dataclass(frozen=True, slots=True)
class Family:
    """The task that started a task, and those that it started, in the order in which they began.
    has_more: there are more than MAX_SUBTASKS."""

    parent: Task | None = None
    children: Sequence[Task] = ()
    has_more: bool = False

    def __bool__(self) -> bool:
        return bool(self.parent or self.children)

    @property
    def completed(self) -> int:
        return sum(child.status == Task.Status.COMPLETED for child in self.children)


def family(task: Task) -> Family:
    """For whoever may open the task: they may open these too, which are of the same person in the
    same context, and policy.may_open() asks for nothing else. Two queries at most."""
    children = list(subtasks_of(task)[: MAX_SUBTASKS + 1])
    parent = _beside(task).filter(task_id=task.parent_task_id) if task.parent_task_id else ()
    return Family(next(iter(parent), None), children[:MAX_SUBTASKS], len(children) > MAX_SUBTASKS)


def subtasks_of(task: Task) -> QuerySet[Task]:
    """Those that the task started, in the order in which they began."""
    rows = _beside(task).filter(parent_task_id=task.task_id)
    return rows.exclude(parent_task_id="").order_by("created_at", "pk")


def _beside(task: Task) -> QuerySet[Task]:
    """Of the same person in the same context."""
    return Task.unscoped.filter(owner_id=task.owner_id, organization_id=task.organization_id)


def find_share(token: str) -> Share | None:
    """The share that a token belongs to, live or not; who may see it is the policy's."""
    return (
        Share.unscoped.filter(token_hash=digest(token))
        .select_related("task", "task__owner", "task__organization")
        .first()
    )


def _role_in(task: Task, user_id: str | None) -> str | None:
    if user_id is None or task.organization_id is None:
        return None
    return memberships.role_of(user_id=user_id, organization_id=task.organization_id)


def _maker(task: Task) -> policy.Maker:
    return policy.Maker(is_active=task.owner.is_active, role=_role_in(task, task.owner_id))


def may_follow(share: Share, *, viewer_id: str | None, at: datetime) -> bool:
    """May the viewer, or a stranger (None), see the page of the link as things stand (J2)?"""
    return policy.may_follow(
        share,
        maker=_maker(share.task),
        viewer_role=_role_in(share.task, viewer_id),
        cloud=orgs.settings_of(share.task.organization_id).cloud,
        at=at,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a link stands, for its owner. since: when the policy that hides it came; refusal: what
    the policy says."""

    barrier: policy.Barrier | None
    ends_at: datetime | None
    since: datetime | None = None
    refusal: str = ""


def standing(task: Task, shares: Collection[Share], *, at: datetime) -> list[Standing]:
    """How each of a task's links stands. task: with its owner. Two queries, and one for each link
    that the policy hides."""
    if not shares:
        return []
    maker, cloud = _maker(task), orgs.settings_of(task.organization_id).cloud
    found = []
    for share in shares:
        share.task = task
        barrier = policy.barrier(share, maker=maker, cloud=cloud, at=at)
        refusal = policy.refusal_to_share(share.visibility, cloud) or ""
        since = _refused_since(share) if barrier is policy.Barrier.POLICY else None
        found.append(Standing(barrier, policy.ends_at(share, cloud), since, refusal))
    return found


def _refused_since(share: Share) -> datetime | None:
    if share.task.organization_id is None:
        return None
    return orgs.settled_since(
        share.task.organization_id,
        lambda settings: policy.refusal_to_share(share.visibility, settings.cloud) is not None,
    )


def span(task: Task) -> dict[str, Any]:
    """Number of messages, from when to when they were written (epoch ms), and the newest row."""
    return Message.unscoped.filter(task=task).aggregate(
        count=Count("pk"), first_ms=Min("ts"), last_ms=Max("ts"), newest=Max("pk")
    )


class _Size(Func):
    """Bytes of an ASCII text. PostgreSQL knows them without reading the text."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, function="LENGTH", **context)


#: Bytes of one message that are read for a page, and of all that one page reads (F7).
MAX_BODY, MAX_BODIES = 2 * 2**20, 64 * 2**20


def messages_of(task: Task, *, kinds: Collection[str] = ()) -> "QuerySet[Message]":
    """The messages of a task in their order, all or those of some kinds, to be read() in part."""
    rows = Message.unscoped.filter(task=task).order_by("ts", "pk")
    return rows.filter(kind__in=kinds) if kinds else rows


def read(rows: "QuerySet[Message]", *, is_bounded: bool = True) -> Iterator[Message]:
    """Some of messages_of() with their bodies, in one query. Within bounds, the body of one that is
    larger than MAX_BODY is empty, and so are all that come when MAX_BODIES were read."""
    if not is_bounded:
        yield from rows.iterator(100)
        return
    shown = Case(
        When(size__lte=MAX_BODY, then=F("body")), default=Value(""), output_field=TextField()
    )
    left = MAX_BODIES
    for row in rows.defer("body").annotate(size=_Size("body"), shown=shown).iterator(100):
        left -= len(row.shown)
        row.body = row.shown if left >= 0 else ""
        yield row


def telling(task: Task, *, kinds: Collection[str], opening: int | None) -> "QuerySet[Message]":
    """Messages of some kinds, less the texts after the one that opens the conversation."""
    return messages_of(task, kinds=kinds).exclude(~Q(pk=opening), kind="text")


#: What the body of a tool has that changes a file.
_CHANGING = ("Diff", "editedExistingFile", "newFileCreated", "insertContent", "searchAndReplace")


def editing(task: Task) -> "QuerySet[Message]":
    """Messages that change files."""
    changing = reduce(or_, (Q(body__contains=word) for word in _CHANGING))
    kinds = ("tool", "user_feedback_diff")
    return messages_of(task, kinds=kinds).filter(~Q(kind="tool") | changing)


def told_by_user(task: Task) -> Iterator[str]:
    """What the user said: the text that opens the conversation, and each one later."""
    texts = messages_of(task, kinds=["text"])
    opening = texts.values_list("pk", flat=True).first()
    rows = messages_of(task, kinds=["text", "user_feedback"])
    for row in read(rows.exclude(~Q(pk=opening), kind="text")):
        text = row.document.get("text")
        if isinstance(text, str):
            yield text


def places(task: Task) -> list[tuple[int, str]]:
    """(pk, kind) of each message in their order, without reading them."""
    return list(messages_of(task).values_list("pk", "kind")[:MAX_PLACES])


#: Messages of one task that its overview knows.
MAX_PLACES = 50_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the editor reported of a task."""

    repository: str
    mode: str
    title: str


def facts(
    actor: Actor, task_ids: Collection[str], *, is_team: bool
) -> dict[tuple[str, str], Facts]:
    """By owner and client's id, of the tasks that the actor's lists show. A query for each 500."""
    rows = team_tasks(actor) if is_team else my_tasks(actor)
    rows = rows.select_related(None).order_by()
    ids, found = sorted(task_ids), {}
    for start in range(0, len(ids), 500):
        some = rows.filter(task_id__in=ids[start : start + 500])
        for owner_id, task_id, *known in some.values_list(
            "owner_id", "task_id", "repository_name", "mode", "title"
        ):
            found[owner_id, task_id] = Facts(*known)
    return found


def dashboard_hours(since: datetime) -> Sequence[Mapping[str, object]]:
    """A row an hour since ``since``: tasks that began."""
    return list(
        Task.unscoped.filter(created_at__gte=since)
        .annotate(hour=TruncHour("created_at"))
        .values("hour")
        .order_by("hour")
        .annotate(tasks=Count("pk"))
    )


def import_states() -> dict[str, int]:
    """How many imports of history run, and how many failed."""
    states = [Import.State.RUNNING, Import.State.FAILED]
    rows = Import.unscoped.filter(state__in=states).order_by().values_list("state")
    return dict(rows.annotate(count=Count("pk")))
