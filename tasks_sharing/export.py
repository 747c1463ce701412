"""Tasks to keep, many at once: a line of JSON for each, in pieces of bounded size."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from accounts.actors import Actor
from audit import actions as audit
from roocloud.lib.money import nanos_to_usd
from roocloud.lib.text import is_storable
from tasks_sharing import listing, queries
from tasks_sharing.listing import Filters
from tasks_sharing.models import Task
from tasks_sharing.transcript import Transcript

CLOSING = "]}\n"


def note(*, by: Actor, is_team: bool, at: datetime) -> None:
    """Somebody takes conversations away (L4)."""
    audit.record(
        action="tasks.exported",
        actor=by,
        organization_id=by.organization_id,
        target_kind="user",
        target_id=by.user_id,
        after={"of": "team" if is_team else "mine"},
        at=at,
    )


def batch(
    actor: Actor, filters: Filters, *, is_team: bool, after: str, pks: Sequence[str]
) -> tuple[Sequence[Task], str | None]:
    """Some of the tasks whose conversations the actor may read now, and where to go on; None at the
    end. pks: of chosen ones, instead of all that the filters leave."""
    sight = queries.sight(actor, is_team=is_team)
    if pks:
        return list(
            sight.openable.filter(pk__in=[pk for pk in pks if is_storable(pk)][: listing.PAGE])
        ), None
    page = listing.listed(sight, filters, after=after, only_openable=True)
    return page.tasks, page.following or None


def opening(task: Task) -> str:
    """The beginning of a task's line; its messages and CLOSING follow."""
    facts = {
        "taskId": task.task_id,
        "title": task.title,
        "member": task.owner.email,
        "status": task.status,
        "mode": task.mode,
        "model": task.model,
        "provider": task.provider,
        "repository": task.repository_name,
        "branch": task.branch,
        "parentTaskId": task.parent_task_id,
        "tokensIn": task.tokens_in,
        "tokensOut": task.tokens_out,
        "costUsd": nanos_to_usd(task.cost_nanos),
        "createdAt": task.created_at.astimezone(UTC).isoformat(),
        "lastActivityAt": task.last_activity_at.astimezone(UTC).isoformat(),
    }
    return f'{json.dumps(facts)[:-1]}, "messages": ['


def lines(task: Task, start: int) -> list[str]:
    """Some of its messages from a place on, each as JSON; empty at the end."""
    return Transcript(task, path="").json_lines(start)
