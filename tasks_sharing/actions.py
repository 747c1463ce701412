"""Every write to tasks, messages and shares."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import BigIntegerField, BooleanField, Case, CharField, F, Q, Value, When
from django.urls import reverse

from accounts.actors import Actor
from audit import actions as audit
from orgs import queries as orgs
from roocloud.lib import crypto
from roocloud.lib.fresh import Fresh
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.refusals import NotFound, Refusal
from roocloud.lib.text import clean_label
from tasks_sharing import detection, guard, images, live, policy
from tasks_sharing.figures import cost_nanos, count
from tasks_sharing.messages import Read, prompt_of, read_message, read_stored
from tasks_sharing.models import Message, Share, ShareView, Task

if TYPE_CHECKING:
    from orgs.documents import CloudSettings

MAX_TASK_ID = 64
_TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: A share asks an editor for a backfill at most this often, so that its second try succeeds.
BACKFILL_PAUSE = timedelta(minutes=1)
_BATCH = 500


class SharingRefused(Refusal):
    """Refused by policy: the client reads the reason from a 200 with ``success: false``."""

    status = 200


class BackfillWanted(NotFound):
    """On this 404 the client uploads the whole conversation, and asks again."""


@dataclass(frozen=True, slots=True)
class Event:
    """One telemetry event. properties: as the client sent them, any of them missing or wrong."""

    type: str
    properties: dict[str, Any]


def _text(properties: dict[str, Any], key: str, limit: int) -> str:
    value = properties.get(key)
    return clean_label(value, limit) if isinstance(value, str) else ""


def valid_task_id(value: object) -> str:
    """A client's task id (a UUID, as far as clients go), or an empty string for what is none."""
    return value if isinstance(value, str) and _TASK_ID.fullmatch(value) else ""


def task_id_of(properties: dict[str, Any]) -> str:
    """The task that an event belongs to; empty for an event without a usable id."""
    return valid_task_id(properties.get("taskId"))


def is_foreign(actor: Actor, task_id: str) -> bool:
    """Whether the id is known, and of somebody else alone.

    An event that an editor re-sends may be of the person who was signed in before (trap 26): it
    must not start a task of the present one.
    """
    tasks = Task.unscoped.filter(task_id=task_id)
    return tasks.exists() and not tasks.filter(owner_id=actor.user_id).exists()


# --- Recording --------------------------------------------------------------------------------


def record_event(*, actor: Actor, event: Event, at: datetime) -> None:
    """Let an event change its task, in the caller's transaction. Events come in any order, and
    some come twice; one without a task changes nothing."""
    if task := see_task(actor=actor, event=event, at=at):
        apply_event(actor=actor, task=task, event=event, at=at)


#: (owner's id, client's task id) -> the task, for what never changes of it: whose it is and where.
_lately: Fresh[tuple[str, str], Task] = Fresh(age=timedelta(minutes=5))
#: Whether an organization records messages. A policy, so five seconds at most (B4).
_recording: Fresh[str, bool] = Fresh(age=timedelta(seconds=5))


def see_task(*, actor: Actor, event: Event, at: datetime, locks: bool = False) -> Task | None:
    """The task that an event is of, made on first sight. None for an event without a task, or of a
    task that is out of the actor's reach.

    locks: hold its row until the caller's transaction ends. Without it, a task that was seen
    lately costs no query, and may be gone: apply_event finds out.
    """
    task_id = task_id_of(event.properties)
    if not task_id:
        return None
    if not locks and (known := _lately.get((actor.user_id, task_id), at=at)):
        return known
    return _seen(actor=actor, task_id=task_id, properties=event.properties, at=at, locks=locks)


def apply_event(*, actor: Actor, task: Task, event: Event, at: datetime) -> None:
    """Let an event change the task that see_task gave: one query, and one more for a message. The
    first locks the task's row, so events of one task are decided one after another."""
    read = _recorded(task, event, at=at)
    news = {
        "last_activity_at": at,
        **{name: value for name, value in _facts(event.properties).items() if value},
        **_consequences(task, event, read),
    }
    if not Task.objects.visible_to(actor).filter(pk=task.pk).update(**news):
        _lately.forget((task.owner_id, task.task_id))
        seen = see_task(actor=actor, event=event, at=at)
        if seen is None:
            return
        task = seen
        Task.unscoped.filter(pk=task.pk).update(**news)
    live.announce(task.pk)
    if read is None:
        return
    row = read.row(task)
    row.awaits_scan = guard.awaits_scan(task.pk)  # the database decides
    Message.unscoped.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["task", "ts", "type", "kind"],
        update_fields=["body", "awaits_scan", "gist"],
    )
    images.keep(task, read.images)
    is_title = "title" in news and (task.title_ts is None or read.ts <= task.title_ts)
    if is_title:
        task.title_ts = read.ts  # as far as is known: later texts are no title
    if is_title or read.is_by_user:
        _index(task)


def _index(task: Task) -> None:
    """Soon: what the user just said is looked for soon. A job that is lost is made up for."""
    from tasks_sharing.tasks import index_task  # which imports this module

    index_task.delay_on_commit(task_id=task.pk)


def _seen(
    *, actor: Actor, task_id: str, properties: dict[str, Any], at: datetime, locks: bool = False
) -> Task | None:
    """The actor's task of that id, made on first sight by any event.

    None for a task of an organization that the actor does not belong to any more: nothing reaches
    it, and no error says so, for the client would drop or repeat the event (A4, D4).
    """
    rows = Task.unscoped.select_for_update() if locks else Task.unscoped.all()
    task, is_new = rows.get_or_create(
        owner_id=actor.user_id,
        task_id=task_id,
        defaults={
            "organization_id": actor.organization_id,
            "created_at": at,
            "last_activity_at": at,
            **_facts(properties),
        },
    )
    if not is_new and not Task.objects.visible_to(actor).filter(pk=task.pk).exists():
        return None
    _lately.put((actor.user_id, task_id), task, at=at)
    return task


def _facts(properties: dict[str, Any]) -> dict[str, str]:
    return {
        "mode": _text(properties, "mode", 100),
        "model": _text(properties, "modelId", 200),
        "provider": _text(properties, "apiProvider", 100),
        "repository_url": _text(properties, "repositoryUrl", 500),
        "repository_name": _text(properties, "repositoryName", 200),
        "branch": _text(properties, "defaultBranch", 200),
    }


def _consequences(task: Task, event: Event, read: Read | None) -> dict[str, Any]:
    """What an event of that type changes of its task."""
    properties = event.properties
    if read is not None:
        return _said(read)
    if event.type == "LLM Completion":
        # The only event that carries costs. ``inputTokens`` is the total, cached ones included.
        return {
            "tokens_in": F("tokens_in") + count(properties.get("inputTokens")),
            "tokens_out": F("tokens_out") + count(properties.get("outputTokens")),
            "cost_nanos": F("cost_nanos") + cost_nanos(properties.get("cost")),
        }
    if event.type == "Task Created":
        # Parentage is reliable in this event alone: later ones describe the task on top of the
        # stack (protocol/tasks-and-telemetry.md §1.2).
        parent = properties.get("parentTaskId")
        if isinstance(parent, str) and parent != task.task_id:
            return {"is_from_start": True, "parent_task_id": clean_label(parent, MAX_TASK_ID)}
        return {"is_from_start": True}
    if event.type == "Task Reopened":
        return {"status": Task.Status.RUNNING}
    if event.type == "Task Completed":
        return {"status": Task.Status.COMPLETED}
    return {}


def _recorded(task: Task, event: Event, *, at: datetime) -> Read | None:
    """The message of an event, if it has one that is to be stored."""
    if event.type != "Task Message":
        return None
    read = read_message(event.properties.get("message"))
    return read if read is not None and _records_messages(task.organization_id, at=at) else None


def _records_messages(organization_id: str | None, *, at: datetime) -> bool:
    if organization_id is None:
        return True
    known = _recording.get(organization_id, at=at)
    if known is None:
        cloud = orgs.settings_of(organization_id).cloud
        known = cloud.record_task_messages is True
        _recording.put(organization_id, known, at=at)
    return known


def _said(read: Read) -> dict[str, Any]:
    """What a message changes of its task."""
    news: dict[str, Any] = {}
    if prompt := prompt_of([read]):
        # Events race: the database decides whether this text is earlier than the title's.
        title, ts = prompt
        is_first = Q(title_ts=None) | Q(title_ts__gte=ts)
        values = (
            ("title", Value(title, CharField())),
            ("title_ts", Value(ts, BigIntegerField())),
            ("words_due", Value(value=True, output_field=BooleanField())),
        )
        news = {name: Case(When(is_first, then=value), default=F(name)) for name, value in values}
    if read.is_by_user:
        news["words_due"] = True
    if read.ends_the_task:
        news["status"] = Task.Status.COMPLETED
    return news


def expect_backfill(
    *, actor: Actor, task_id: str, properties: dict[str, Any], at: datetime
) -> Task | None:
    """Note that a snapshot of the task was accepted and will be stored by a job. None for a task
    that is out of the actor's reach."""
    task = _seen(actor=actor, task_id=task_id, properties=properties, at=at)
    if task is None:
        return None
    facts = {name: value for name, value in _facts(properties).items() if value}
    Task.unscoped.filter(pk=task.pk).update(
        backfill_requested_at=at, backfill_failed_at=None, last_activity_at=at, **facts
    )
    return task


def give_up_backfill(*, task_pk: str, requested_at: datetime, at: datetime) -> None:
    """Note that the snapshot will never be stored, unless a later one is on its way: the page says
    so, and the next share asks the editor for another."""
    Task.unscoped.filter(pk=task_pk, backfill_requested_at=requested_at).update(
        backfill_requested_at=None, backfill_failed_at=at
    )


def replace_messages(*, task_pk: str, messages: list[Any], requested_at: datetime) -> int | None:
    """Let a snapshot be the conversation up to its last message; how many messages it has.

    All or nothing (D5). What was recorded after the snapshot was taken stays. An element without a
    place in the conversation is passed over; of elements with one key the last counts. None, and
    nothing changed, if this snapshot or a later one is stored already.
    """
    reads = [read for read in map(read_message, messages) if read is not None]
    unique = {read.key: read for read in reads}
    last_ts = max((read.ts for read in reads), default=-1)
    with transaction.atomic():
        # The task's row is the lock: two snapshots do not mix, and no event comes between.
        task = Task.unscoped.select_for_update().get(pk=task_pk)
        if task.backfilled_at is not None and task.backfilled_at >= requested_at:
            return None
        for row in task.messages.filter(ts=last_ts):
            # The snapshot caught a message while it streamed; its end has come since.
            heard = read_stored(row)
            if not heard.is_partial and heard.key in unique and unique[heard.key].is_partial:
                unique[heard.key] = heard
        finished = [read for read in unique.values() if not read.is_partial]
        rows = guard.marked(task, (read.row(task) for read in unique.values()))
        Message.unscoped.filter(task=task, ts__lte=last_ts).delete()
        Message.unscoped.bulk_create(rows, batch_size=_BATCH)
        images.keep(task, (found for read in unique.values() for found in read.images))
        news: dict[str, Any] = {
            "backfilled_at": requested_at,
            "backfill_failed_at": None,
            "words_due": True,
        }
        if finished and not task.messages.filter(ts__gt=last_ts).exists():
            ends = max(finished, key=lambda read: read.ts).ends_the_task
            news["status"] = Task.Status.COMPLETED if ends else Task.Status.RUNNING
        if prompt := prompt_of(unique.values()):
            news["title"], news["title_ts"] = prompt
        Task.unscoped.filter(pk=task.pk).update(**news)
        _index(task)
        live.announce(task.pk)
    if task.guarded_by:
        guard.scan(task, at=requested_at)  # here, and not at the expense of the next reader
    return len(unique)


def delete_task(*, task: Task, by: Actor, at: datetime) -> None:
    """Delete a task with its messages and links."""
    with transaction.atomic():
        audit.record(
            action="task.deleted",
            actor=by,
            organization_id=task.organization_id,
            target_kind="task",
            target_id=task.pk,
            at=at,
        )
        live.announce(task.pk)
        task.delete()


# --- Sharing ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shared:
    share_id: str
    url: str
    is_new: bool


def _scan(task: Task, *, at: datetime) -> None:
    """Now, if the rules are loaded; else beside the request, since editors wait half a minute. In
    both cases readers see nothing that was not scanned."""
    if detection.is_prepared():
        guard.scan(task, at=at)
        return
    from tasks_sharing.tasks import scan_task  # which imports this module

    scan_task.delay_on_commit(task_id=task.pk)


def share_task(
    *,
    actor: Actor,
    task_id: str,
    visibility: str,
    at: datetime,
    lifetime: timedelta | None = None,
) -> Shared:
    """A link to one of the actor's tasks; for one that is shared already, its link, renewed
    (protocol/tasks-and-telemetry.md §4). A public one masks the secrets of the task from the start.

    lifetime: of a new link, within what the policy lets it; None for all of that. A link that is
    renewed keeps its own.

    Raises SharingRefused by policy, and BackfillWanted for a task that this server does not know
    whole: without its opening the reader would get a torn conversation.
    """
    task = Task.objects.visible_to(actor).filter(task_id=valid_task_id(task_id)).first()
    if task is None:
        _require_sharing(actor.organization_id, visibility)
        raise BackfillWanted("Task not found")
    cloud = _require_sharing(task.organization_id, visibility)
    if visibility == Share.Visibility.ORGANIZATION and task.organization_id is None:
        raise SharingRefused("This task is in your personal account: share it publicly instead.")
    if _wants_backfill(task, at=at):
        Task.unscoped.filter(pk=task.pk).update(share_missed_at=at)
        raise BackfillWanted("Task not found")
    if visibility == Share.Visibility.PUBLIC:
        _scan(task, at=at)
    with transaction.atomic():
        # The task's row is the lock: one live link a visibility.
        Task.unscoped.select_for_update().get(pk=task.pk)
        share = Share.unscoped.filter(task=task, visibility=visibility, revoked_at=None).first()
        if share is not None:
            if not _has_ended(share, cloud, at=at):
                _renew(share, share.lifetime, cloud, at=at)
                return Shared(share.pk, url_of(share), is_new=False)
            Share.unscoped.filter(pk=share.pk).update(revoked_at=at)
        share = _new_share(task, visibility, lifetime, cloud, by=actor, at=at)
    return Shared(share.pk, url_of(share), is_new=True)


def _has_ended(share: Share, cloud: "CloudSettings", *, at: datetime) -> bool:
    end = policy.ends_at(share, cloud)
    return end is not None and end <= at


def _renew(
    share: Share, lifetime: timedelta | None, cloud: "CloudSettings", *, at: datetime
) -> None:
    share.lifetime, share.renewed_at = lifetime, at
    share.expires_at = policy.end_of(lifetime, cloud, counted_from=at)
    share.save(update_fields=["lifetime", "renewed_at", "expires_at"])


def _require_sharing(organization_id: str | None, visibility: str) -> "CloudSettings":
    cloud = orgs.settings_of(organization_id).cloud
    if reason := policy.refusal_to_share(visibility, cloud):
        raise SharingRefused(reason)
    return cloud


def _wants_backfill(task: Task, *, at: datetime) -> bool:
    if task.backfill_requested_at is not None or task.backfilled_at is not None:
        return False
    if task.share_missed_at is not None and at - task.share_missed_at < BACKFILL_PAUSE:
        return False
    return not _has_opening(task)


def _has_opening(task: Task) -> bool:
    """Whether nothing is missing before the earliest message: the editor told when the task began,
    and a text came first. A text alone may be the agent's, from the middle of the conversation."""
    if not task.is_from_start:
        return False
    first = task.messages.order_by("ts", "pk").first()
    return first is not None and first.kind == "text"


def _new_share(
    task: Task,
    visibility: str,
    lifetime: timedelta | None,
    cloud: "CloudSettings",
    *,
    by: Actor,
    at: datetime,
) -> Share:
    token = new_secret("s")
    share = Share(
        task=task,
        visibility=visibility,
        token_hash=digest(token),
        made_by_id=by.user_id,
        created_at=at,
        lifetime=lifetime,
        expires_at=policy.end_of(lifetime, cloud, counted_from=at),
    )
    share.sealed_token = crypto.seal(token, context=share.token_context)
    share.save(force_insert=True)
    audit.record(
        action="share.created",
        actor=by,
        organization_id=task.organization_id,
        target_kind="share",
        target_id=share.pk,
        after={"visibility": visibility, "task": task.pk},
        at=at,
    )
    return share


def url_of(share: Share) -> str:
    """The link, for its owner. Raises crypto.CannotUnseal."""
    token = crypto.unseal(share.sealed_token, context=share.token_context).decode()
    return f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('share', args=[token])}"


def revoke_share(*, share: Share, by: Actor, at: datetime) -> bool:
    """Make the link worthless from now on. True for the call that did it."""
    with transaction.atomic():
        if not Share.unscoped.filter(pk=share.pk, revoked_at=None).update(revoked_at=at):
            return False
        audit.record(
            action="share.revoked",
            actor=by,
            organization_id=share.task.organization_id,
            target_kind="share",
            target_id=share.pk,
            at=at,
        )
    return True


class LinkEnded(Refusal):
    """It was revoked, or its time is over: another link can be made, this one stays dead."""

    status, code = 409, "link_ended"


def regenerate_share(*, share: Share, by: Actor, at: datetime) -> Share:
    """Another link in place of one: the old one is worthless from now on, the new one is for the
    same people and lives as long from now.

    Raises SharingRefused by policy, and LinkEnded if the link is revoked already.
    """
    cloud = _require_sharing(share.task.organization_id, share.visibility)
    with transaction.atomic():
        Task.unscoped.select_for_update().get(pk=share.task_id)  # as share_task does
        if not revoke_share(share=share, by=by, at=at):
            raise LinkEnded("This link does not work any more")
        return _new_share(share.task, share.visibility, share.lifetime, cloud, by=by, at=at)


def change_lifetime(
    *, share: Share, lifetime: timedelta | None, by: Actor, at: datetime
) -> datetime | None:
    """Let a link live for so long from now on, or as long as the policy lets it (None); when it
    ends. What is longer than the policy is cut to it.

    Raises LinkEnded.
    """
    cloud = orgs.settings_of(share.task.organization_id).cloud
    with transaction.atomic():
        found = Share.unscoped.select_for_update().get(pk=share.pk)
        if found.revoked_at is not None or _has_ended(found, cloud, at=at):
            raise LinkEnded("This link does not work any more")
        before = found.expires_at
        _renew(found, lifetime, cloud, at=at)
        audit.record(
            action="share.lifetime_changed",
            actor=by,
            organization_id=share.task.organization_id,
            target_kind="share",
            target_id=share.pk,
            before={"expires_at": before and before.isoformat()},
            after={"expires_at": found.expires_at and found.expires_at.isoformat()},
            at=at,
        )
    return found.expires_at


# --- Who looked -------------------------------------------------------------------------------


def note_view(*, share_id: str, viewer_id: str, network: str, form: str, at: datetime) -> None:
    """Note that a link was opened, in one statement. viewer_id: of a member of the organization;
    empty for anybody else, whose name is none of the owner's business. network: the beginning of
    their address."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    view = ShareView(
        share_id=share_id, opened_at=at, hour=hour, viewer_id=viewer_id, network=network, form=form
    )
    ShareView.unscoped.bulk_create([view], ignore_conflicts=True)


def forget_views(*, at: datetime) -> None:
    """Drop what of the access logs is older than it is kept. The views go on counting."""
    old = ShareView.unscoped.filter(opened_at__lt=at - settings.ROOCLOUD_SHARE_VIEWS_KEEP)
    for share_id in old.order_by().values_list("share_id", flat=True).distinct():
        with transaction.atomic():
            of_share = old.filter(share_id=share_id)
            read, _ = of_share.filter(form=ShareView.Form.PAGE).delete()
            of_share.delete()
            Share.unscoped.filter(pk=share_id).update(forgotten_views=F("forgotten_views") + read)
