"""Reads of tasks, for pages and for other rooms."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, QuerySet
from django.db.models.functions import TruncDate

from accounts import memberships
from accounts.actors import Actor
from orgs import queries as orgs
from roocloud.lib.ids import digest
from tasks_sharing import policy
from tasks_sharing.actions import valid_task_id
from tasks_sharing.models import Message, Share, Task


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
    if actor.organization_id is None:
        return my_tasks(actor)
    visibility = policy.task_visibility(orgs.organization_settings(actor).cloud)
    rows = Task.unscoped.of_organization(actor.organization_id)
    if visibility == "full-lockdown" or not policy.sees_others(visibility, actor.role):
        rows = rows.filter(owner_id=actor.user_id)
    return rows.select_related("owner").order_by("-last_activity_at", "pk")


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


def find_share(token: str) -> Share | None:
    """The share that a token belongs to, live or not; who may see it is the policy's."""
    return (
        Share.unscoped.filter(token_hash=digest(token))
        .select_related("task", "task__owner", "task__organization")
        .first()
    )


def may_follow(share: Share, *, viewer_id: str | None, at: datetime) -> bool:
    """May the viewer, or a stranger (None), see the page of the link as things stand (J2)?"""
    task = share.task

    def role_of(user_id: str | None) -> str | None:
        if user_id is None or task.organization_id is None:
            return None
        return memberships.role_of(user_id=user_id, organization_id=task.organization_id)

    return policy.may_follow(
        share,
        maker=policy.Maker(is_active=task.owner.is_active, role=role_of(task.owner_id)),
        viewer_role=role_of(viewer_id),
        cloud=orgs.settings_of(task.organization_id).cloud,
        at=at,
    )


def span(task: Task) -> dict[str, Any]:
    """Number of messages, and from when to when they were written (epoch ms)."""
    return Message.unscoped.filter(task=task).aggregate(
        count=Count("pk"), first_ms=Min("ts"), last_ms=Max("ts")
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What the editor reported of a task."""

    repository: str
    mode: str


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
            "owner_id", "task_id", "repository_name", "mode"
        ):
            found[owner_id, task_id] = Facts(*known)
    return found


def dashboard_days(since: datetime) -> Sequence[Mapping[str, object]]:
    """A row a day since ``since``: tasks that began."""
    return list(
        Task.unscoped.filter(created_at__gte=since)
        .annotate(day=TruncDate("created_at"))
        .values("day")
        .order_by("day")
        .annotate(tasks=Count("pk"))
    )
