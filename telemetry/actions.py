"""Taking in events and whole conversations."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.core.files.base import File
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import F

from accounts.actors import Actor
from audit import actions as audit
from roocloud.lib import wire
from roocloud.lib.ids import digest, new_id
from roocloud.lib.refusals import InvalidInput, Refusal
from roocloud.lib.text import clean_label
from tasks_sharing import actions as tasks
from tasks_sharing.actions import Event as TaskEvent
from telemetry.models import Backfill, Event

logger = logging.getLogger(__name__)

MAX_EVENTS = 1000
#: A client re-sends what timed out within this time; two equal events further apart are two.
REPEAT_WINDOW = timedelta(days=1)
#: Events that add up, or that say which message they are.
_COUNTED_ONCE = frozenset({"Task Message", "LLM Completion"})
MAX_ATTEMPTS = 5
RETRY_AFTER = timedelta(minutes=2)


def read_event(value: Any, *, field: str = "") -> TaskEvent:
    """An event in the client's form ``{type, properties}`` or the guide's ``{name, properties}``;
    ``type`` wins. Raises InvalidInput naming the field."""
    prefix = f"{field}." if field else ""
    if not isinstance(value, dict):
        raise InvalidInput("must be an event object", field=field or None)
    name = value.get("type", value.get("name"))
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput("must name the event", field=f"{prefix}type")
    properties = value.get("properties", {})
    if not isinstance(properties, dict):
        raise InvalidInput("must be an object", field=f"{prefix}properties")
    return TaskEvent(type=clean_label(name, 100), properties=properties)


def read_events(body: bytes) -> list[TaskEvent]:
    """One event, or a list of them, bare or as ``{"events": […]}``. Raises InvalidInput."""
    return events_of(wire.loads(body))


def events_of(value: Any) -> list[TaskEvent]:
    if isinstance(value, dict) and isinstance(value.get("events"), list):
        value = value["events"]
    if not isinstance(value, list):
        return [read_event(value)]
    if len(value) > MAX_EVENTS:
        raise InvalidInput(f"holds more than {MAX_EVENTS} events", field="events")
    return [read_event(item, field=f"events[{index}]") for index, item in enumerate(value)]


def record_events(*, actor: Actor, events: list[TaskEvent], is_retry: bool, at: datetime) -> int:
    """Store events and let their tasks follow, all in one transaction (D4); how many counted.

    is_retry: the request carries ``X-Retry-Queue``. Then a message or a completion that is stored
    already counts once, and a task of somebody else is left alone (trap 26). Other events have
    nothing to tell a repeat from a second one by; equal ones of one list are several.
    """
    stored: dict[str, list[int]] = {}
    with transaction.atomic():
        for event in events:
            _record(actor, event, is_retry=is_retry, stored=stored, at=at)
    return sum(map(len, stored.values()))


def _record(
    actor: Actor, event: TaskEvent, *, is_retry: bool, stored: dict[str, list[int]], at: datetime
) -> None:
    task_id = tasks.task_id_of(event.properties)
    if is_retry and task_id and tasks.is_foreign(actor, task_id):
        return
    # Locked for a repeat: of several sent at once, the second sees the first one's row.
    task = tasks.see_task(actor=actor, event=event, at=at, locks=is_retry)
    fingerprint = digest(f"{event.type}\n{wire.dumps(event.properties)}")
    mine = stored.setdefault(fingerprint, [])
    if is_retry and task and event.type in _COUNTED_ONCE:
        same = Event.unscoped.filter(user_id=actor.user_id, digest=fingerprint)
        if same.filter(received_at__gt=at - REPEAT_WINDOW).exclude(pk__in=mine).exists():
            return
    if task:
        # First, for it locks the task: a repeat that comes at this moment waits, and sees the row.
        tasks.apply_event(actor=actor, task=task, event=event, at=at)
    kept = {key: value for key, value in event.properties.items() if key != "message"}
    row = Event.unscoped.create(
        user_id=actor.user_id,
        organization_id=actor.organization_id or "",
        type=event.type,
        task_id=task_id,
        properties=wire.dumps(kept),
        digest=fingerprint,
        received_at=at,
    )
    mine.append(row.pk)


# --- Backfill ---------------------------------------------------------------------------------


def read_messages(body: bytes, *, field: str) -> list[Any]:
    """The messages of a snapshot. Raises InvalidInput naming ``field``."""
    try:
        messages = wire.loads(body)
    except InvalidInput as refusal:
        raise InvalidInput(refusal.message, field=field) from None
    if not isinstance(messages, list):
        raise InvalidInput("must be a list of messages", field=field)
    return messages


def accept_backfill(
    *,
    actor: Actor,
    task_id: object,
    properties: dict[str, Any],
    body: File[bytes],
    at: datetime,
) -> Backfill | None:
    """Keep an uploaded conversation and queue the job that stores it (D5). None, and nothing kept,
    for a task of an organization that the actor does not belong to any more.

    body: JSON, checked by read_messages already. When this returns, the upload is durable and its
    task known, so the share that follows finds it. Raises InvalidInput (``taskId``).
    """
    from telemetry.tasks import store_backfill

    known = tasks.valid_task_id(task_id)
    if not known:
        raise InvalidInput("must be a task id", field="taskId")
    job = Backfill(
        user_id=actor.user_id,
        organization_id=actor.organization_id or "",
        received_at=at,
        tried_at=at,
    )
    job.body.save(f"{new_id('body')}.json", body, save=False)
    try:
        with transaction.atomic():
            task = tasks.expect_backfill(actor=actor, task_id=known, properties=properties, at=at)
            if task is not None:
                job.task_pk = task.pk
                job.save(force_insert=True)
                store_backfill.delay_on_commit(job_id=job.pk)
    except Exception:
        job.body.delete(save=False)
        raise
    if task is None:
        job.body.delete(save=False)
        return None
    return job


def run_backfill(*, job_id: str, at: datetime) -> None:
    """Store a queued conversation. Run twice or at once, it stores it once. A fault that may go
    away leaves the job queued for the sweep, until its attempts are used up; a document that can
    never be stored ends it."""
    job = Backfill.unscoped.filter(pk=job_id, state=Backfill.State.QUEUED).first()
    if job is None:
        return
    if job.attempts >= MAX_ATTEMPTS:  # none of them came to its end
        _give_up(job, "interrupted", at=at)
        return
    Backfill.unscoped.filter(pk=job_id).update(attempts=F("attempts") + 1, tried_at=at)
    try:
        with job.body.open("rb") as file:
            messages = read_messages(file.read(), field="file")
        count = tasks.replace_messages(
            task_pk=job.task_pk, messages=messages, requested_at=job.received_at
        )
    except OSError as fault:
        if job.attempts + 1 < MAX_ATTEMPTS:
            logger.warning("A backfill has to wait", extra={"job": job.pk})
            Backfill.unscoped.filter(pk=job.pk).update(error=type(fault).__name__)
        else:
            _give_up(job, type(fault).__name__, at=at)
        return
    except (OperationalError, InterfaceError):
        raise  # the database is away: the sweep sends the job again
    except ObjectDoesNotExist:  # deleted while the job waited
        forget_task(task_pk=job.task_pk)
        return
    except (Refusal, ArithmeticError, LookupError, TypeError, ValueError, DatabaseError) as fault:
        _give_up(job, type(fault).__name__, at=at)
        return
    done = Backfill.unscoped.filter(pk=job_id)
    done.update(state=Backfill.State.DONE, error="")
    if count is not None:
        done.update(message_count=count)


def _give_up(job: Backfill, error: str, *, at: datetime) -> None:
    logger.warning("A backfill failed", extra={"job": job.pk})
    with transaction.atomic():
        Backfill.unscoped.filter(pk=job.pk).update(state=Backfill.State.FAILED, error=error)
        tasks.give_up_backfill(task_pk=job.task_pk, requested_at=job.received_at, at=at)


def forget_task(*, task_pk: str) -> None:
    """Delete the uploads of a task that is gone, and their jobs."""
    _delete_jobs(list(Backfill.unscoped.filter(task_pk=task_pk)))


def forget_backfills(*, organization_id: str) -> None:
    """Delete what is still kept of the uploads to an organization."""
    _delete_jobs(list(Backfill.unscoped.filter(organization_id=organization_id)))


def _delete_jobs(jobs: list[Backfill]) -> None:
    for job in jobs:
        job.body.delete(save=False)
    Backfill.unscoped.filter(pk__in=[job.pk for job in jobs]).delete()


def replay(*, job: Backfill, by: Actor, at: datetime) -> None:
    """Queue a job again, whatever became of it. One that was stored changes nothing any more."""
    from telemetry.tasks import store_backfill

    with transaction.atomic():
        Backfill.unscoped.filter(pk=job.pk).update(
            state=Backfill.State.QUEUED, attempts=0, error="", tried_at=at
        )
        audit.record(
            action="backfill.replayed",
            actor=by,
            target_kind="backfill",
            target_id=job.pk,
            organization_id=job.organization_id,
            before={"state": job.state, "error": job.error},
            at=at,
        )
        store_backfill.delay_on_commit(job_id=job.pk)


def due_backfills(*, at: datetime, limit: int = 100) -> list[str]:
    """Ids of jobs that nobody has worked on for a while."""
    due = Backfill.unscoped.due(at - RETRY_AFTER).order_by("tried_at", "pk")
    return list(due.values_list("pk", flat=True)[:limit])


def purge_backfills(*, at: datetime, limit: int = 1000) -> int:
    """Delete uploads that are older than ROOCLOUD_BACKFILL_KEEP; how many."""
    old = Backfill.unscoped.filter(received_at__lt=at - settings.ROOCLOUD_BACKFILL_KEEP).exclude(
        state=Backfill.State.QUEUED
    )
    jobs = list(old.order_by("received_at", "pk")[:limit])
    _delete_jobs(jobs)
    return len(jobs)
