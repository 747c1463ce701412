"""Histories of editors, added to what is on record."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from accounts.actors import Actor
from orgs import queries as orgs
from roocloud.lib.refusals import Forbidden, InvalidInput, Refusal
from tasks_sharing import images
from tasks_sharing.messages import Read, prompt_of, read_message
from tasks_sharing.models import Message, Task

_BATCH = 500


@dataclass(frozen=True, slots=True)
class History:
    """A task as an editor keeps it on its disk: all that was said, in the form of its messages.

    Texts that are not known are empty. tokens_in counts cached ones; is_completed: the editor says
    so, whatever was said last.
    """

    task_id: str
    messages: list[Any]
    title: str = ""
    parent_task_id: str = ""
    mode: str = ""
    model: str = ""
    provider: str = ""
    workspace: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_nanos: int = 0
    is_completed: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    is_new: bool  # the task
    message_count: int  # that were not known


class OutOfReach(Refusal):
    """The task is the actor's, in an organization that they do not belong to any more."""

    status, code = 403, "out_of_reach"


def require_recording(organization_id: str | None) -> None:
    """Raises Forbidden if the organization does not record conversations: then no import puts them
    there either."""
    cloud = orgs.settings_of(organization_id).cloud
    if organization_id and cloud.record_task_messages is not True:
        raise Forbidden(
            "This organization does not record conversations. Switch to your personal account to "
            "import them there."
        )


def add_history(*, actor: Actor, history: History, at: datetime) -> Added:
    """Add what the actor's task of that id does not have yet, all or nothing. The same history
    again changes nothing. A message that is known stays as it is, unless it was cut off: one that
    was read while it streamed gets its end.

    Somebody else's task of the same id is theirs, and not looked at. Raises OutOfReach, Forbidden
    (see require_recording), and InvalidInput for a history without a message.
    """
    reads = {read.key: read for read in map(read_message, history.messages) if read is not None}
    if not reads:
        raise InvalidInput("It has no messages")
    first, last = (edge(read.ts for read in reads.values()) for edge in (min, max))
    with transaction.atomic():
        task, is_new = Task.unscoped.get_or_create(
            owner_id=actor.user_id,
            task_id=history.task_id,
            defaults={
                "organization_id": actor.organization_id,
                "status": Task.Status.STOPPED,
                "created_at": _instant(first, latest=at),
                "last_activity_at": _instant(last, latest=at),
                "backfilled_at": at,
            },
        )
        if not is_new and not Task.objects.visible_to(actor).filter(pk=task.pk).exists():
            raise OutOfReach("It is in an organization that you do not belong to any more")
        require_recording(task.organization_id)
        # The task's row is the lock, as for every message.
        task = Task.unscoped.select_for_update().get(pk=task.pk)
        stored = task.messages.values_list("ts", "type", "kind")
        cut = set(stored.filter(body__contains='"partial":true'))
        known = set(stored)
        ended = {key for key in cut if key in reads and not reads[key].is_partial}
        for ts, type_, kind in ended:
            task.messages.filter(ts=ts, type=type_, kind=kind).delete()
        added = [read for key, read in reads.items() if key not in known - ended]
        Message.unscoped.bulk_create((read.row(task) for read in added), batch_size=_BATCH)
        images.keep(task, (found for read in added for found in read.images))
        news = {
            **_facts(task, history),
            **_title(task, history, reads.values()),
            **_end(task, history, reads.values(), at=at),
        }
        if added or "title" in news:
            news["words_due"] = True
        if news:
            Task.unscoped.filter(pk=task.pk).update(**news)
    return Added(is_new=is_new, message_count=len(added))


def _facts(task: Task, history: History) -> dict[str, Any]:
    """What the history knows better of the task. What live events told is as good, and stays;
    totals are of the whole task on either side, so the greater one has seen more of it."""
    facts: dict[str, Any] = {
        name: told
        for name in ("parent_task_id", "mode", "model", "provider", "workspace")
        if (told := getattr(history, name)) and not getattr(task, name)
    }
    for name in ("tokens_in", "tokens_out", "cost_nanos"):
        if (told := getattr(history, name)) > getattr(task, name):
            facts[name] = told
    if not task.is_from_start:
        facts["is_from_start"] = True
    return facts


def _title(task: Task, history: History, reads: Iterable[Read]) -> dict[str, Any]:
    prompt = prompt_of(reads)
    if prompt and (task.title_ts is None or prompt[1] < task.title_ts):
        return {"title": prompt[0], "title_ts": prompt[1]}
    return {"title": history.title} if history.title and not task.title else {}


def _end(task: Task, history: History, reads: Iterable[Read], *, at: datetime) -> dict[str, Any]:
    """When something was said last, and whether that was the end, unless the task went on here."""
    newest = max((read for read in reads if not read.is_partial), key=_ts, default=None)
    if newest is None:
        return {}
    said_at = _instant(newest.ts, latest=at)
    if said_at < task.last_activity_at:
        return {}
    news: dict[str, Any] = {}
    if said_at > task.last_activity_at:
        news["last_activity_at"] = said_at
    if (history.is_completed or newest.ends_the_task) and task.status != Task.Status.COMPLETED:
        news["status"] = Task.Status.COMPLETED
    return news


def _ts(read: Read) -> int:
    return read.ts


def _instant(ts: int, *, latest: datetime) -> datetime:
    """When a client says that it was; its clock may be wrong, and is not believed in the future."""
    return datetime.fromtimestamp(min(ts / 1000, latest.timestamp()), UTC)
