"""Storing prompts and answers, where an organization wants it: off by default, for a number of days
(docs/decisions/0019).

Nobody waits for it, and no completion fails for it: what is to be stored is handed over and written
by a task of its own, apart from the money. A running stream is stored as far as it has come, with
each sign of life of its process.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError, transaction

from accounts.actors import Actor
from audit import actions as audit
from orgs import policy
from proxy.models import Transcript, TranscriptKeeping
from proxy.transcripts import Answered, Asked, Draft, read_request
from roocloud.lib.bulk import insert_rows, update_rows
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.loops import PerLoop
from roocloud.lib.refusals import Forbidden, InvalidInput
from roocloud.lib.threads import run_db

if TYPE_CHECKING:
    from proxy.models import Completion

logger = logging.getLogger(__name__)

MAX_DAYS = 365
_BATCH = 16
#: Transcripts that may wait to be written; the oldest are given up for more.
_MOST_WAITING = 256
#: Seconds between tries of a batch; after the last it is given up.
_AGAIN_S = (0.5, 2, 5)
_DOWN = OperationalError, InterfaceError, OSError


# --- The choice of an organization ------------------------------------------------------------


def set_days(
    *, organization_id: str, days: int | None, by: Actor, at: datetime
) -> TranscriptKeeping | None:
    """Have what members ask and are answered stored for so many days, from now on; None ends it.
    What is older than that, or with None everything, is deleted.

    Raises Forbidden, InvalidInput (``days``).
    """
    if by.organization_id != organization_id or not policy.is_admin(by):
        raise Forbidden("This needs an owner or an admin of the organization")
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise InvalidInput(f"must be from 1 to {MAX_DAYS}", field="days")
    with transaction.atomic():
        rows = TranscriptKeeping.unscoped.select_for_update()
        present = rows.filter(organization=organization_id).first()
        if days == (present.days if present else None):
            return present
        made = None
        if days is None:
            TranscriptKeeping.unscoped.filter(organization=organization_id).delete()
        else:
            made, _ = TranscriptKeeping.unscoped.update_or_create(
                organization_id=organization_id,
                defaults={"days": days, "changed_by_id": by.user_id, "changed_at": at},
            )
        audit.record(
            action="transcripts.kept" if days else "transcripts.not_kept",
            actor=by,
            target_kind="organization",
            target_id=organization_id,
            before={"days": present.days if present else None},
            after={"days": days},
            at=at,
        )
        if days is None or (present and days < present.days):
            # If the queue does not answer, the hourly run does it.
            transaction.on_commit(_forget_soon, robust=True)
    return made


def _forget_soon() -> None:
    from proxy.tasks import forget_transcripts

    forget_transcripts.delay()


def of_organizations(organization_ids: Collection[str | None]) -> dict[str, TranscriptKeeping]:
    """Of those that have transcripts kept, by id."""
    return TranscriptKeeping.unscoped.in_bulk([pk for pk in organization_ids if pk])


def keeps(organization_id: str | None) -> bool:
    """Whether a context's prompts and answers are stored; those of personal accounts never are."""
    if organization_id is None:
        return False
    return TranscriptKeeping.unscoped.filter(organization=organization_id).exists()


def count(organization_id: str, *, older_than: datetime | None = None) -> int:
    """How many transcripts an organization has."""
    rows = Transcript.unscoped.filter(organization=organization_id)
    return (rows.filter(started_at__lt=older_than) if older_than else rows).count()


# --- Reading one ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A transcript. asked: None for one that cannot be opened."""

    asked: Asked | None
    answered: Answered | None
    until: datetime


def transcript_of(actor: Actor, completion: "Completion", *, at: datetime) -> Kept | None:
    """That of a completion in the actor's context: for who made it, and for owners and admins. None
    for one that is not stored, or only waits to be deleted."""
    keeping = of_organizations([actor.organization_id]).get(actor.organization_id or "")
    if keeping is None:
        return None
    row = Transcript.objects.visible_to(actor).filter(pk=completion.pk).first()
    if row is None or row.started_at < at - timedelta(days=keeping.days):
        return None
    until = row.started_at + timedelta(days=keeping.days)
    try:
        return Kept(row.request(Asked), row.answer(Answered), until)
    except CannotUnseal:
        return Kept(None, None, until)


def read(actor: Actor, completion: "Completion", *, at: datetime) -> Kept | None:
    """Like transcript_of. That somebody reads what another wrote is on the trail."""
    found = transcript_of(actor, completion, at=at)
    if found is not None and completion.user_id != actor.user_id:
        audit.record(
            action="transcript.read",
            actor=actor,
            target_kind="completion",
            target_id=completion.pk,
            after={"member": completion.user_id},
            at=at,
        )
    return found


# --- Writing them -----------------------------------------------------------------------------


def store(drafts: Sequence[Draft]) -> None:
    """Write down what has been asked and answered up to now. What its organization does not want
    stored any more is not, and what was deleted meanwhile does not come back."""
    wanted = of_organizations({draft.organization_id for draft in drafts})
    read = [(d, d.read()) for d in drafts if d.organization_id in wanted]
    changed = [(draft, answer) for draft, answer in read if draft.stored != answer]
    rows = [(draft, answer, _row(draft, answer)) for draft, answer in changed]
    with transaction.atomic():
        insert_rows(
            Transcript,
            [
                {
                    "completion_id": row.pk,
                    "organization": row.organization_id,
                    "user": row.user_id,
                    "started_at": row.started_at,
                    "sealed_request": row.sealed_request,
                    "sealed_answer": row.sealed_answer,
                }
                for draft, _, row in rows
                if not draft.is_stored
            ],
            unique=("completion_id",),
        )
        update_rows(
            Transcript,
            [
                {"pk": row.pk, "sealed_answer": row.sealed_answer}
                for draft, _, row in rows
                if draft.is_stored
            ],
        )
    for draft, answer, _ in rows:
        draft.is_stored, draft.stored = True, answer


def _row(draft: Draft, answer: Answered) -> Transcript:
    row = Transcript(
        completion_id=draft.completion_id,
        organization_id=draft.organization_id,
        user_id=draft.user_id,
        started_at=draft.started_at,
    )
    if not draft.is_stored:
        row.seal_request(read_request(draft.call))
    row.seal_answer(answer)
    return row


class _Lane:
    """What is to be stored on one event loop. One at a time, so that none is written by two."""

    def __init__(self) -> None:
        self.waiting: dict[Draft, None] = {}
        self.worker: asyncio.Task[None] | None = None

    def put(self, draft: Draft) -> None:
        self.waiting[draft] = None
        if len(self.waiting) > _MOST_WAITING:
            given_up = next(iter(self.waiting))
            del self.waiting[given_up]
            logger.error(
                "A transcript was not stored", extra={"completion": given_up.completion_id}
            )
        if self.worker is None or self.worker.done():
            self.worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self.waiting:
            batch = list(islice(self.waiting, _BATCH))
            for draft in batch:
                del self.waiting[draft]
            await self._store(batch)

    async def _store(self, batch: Sequence[Draft]) -> None:
        for pause_s in _AGAIN_S:
            try:
                return await run_db(store, batch)
            except _DOWN:
                await asyncio.sleep(pause_s)
            except Exception:  # noqa: BLE001 - it is met again below, apart
                break
        for draft in batch:
            try:
                await run_db(store, [draft])
            except Exception:
                logger.exception(
                    "A transcript was not stored", extra={"completion": draft.completion_id}
                )
        return None


_lanes = PerLoop(_Lane)


def keep(draft: Draft) -> None:
    """Have a draft stored as it is when its turn comes."""
    _lanes.here().put(draft)


async def kept() -> None:
    """Returns when nothing waits, for shutdown."""
    lane = _lanes.made_here()
    if lane is not None and lane.worker is not None:
        await lane.worker


def forget(*, at: datetime, limit: int = 500) -> int:
    """Delete what is older than its organization wants, and all of those that want none; how
    many."""
    deleted = 0
    owners = set(
        Transcript.unscoped.order_by().values_list("organization_id", flat=True).distinct()
    )
    wanted = of_organizations(owners)
    for organization_id in owners:
        rows = Transcript.unscoped.filter(organization=organization_id)
        if keeping := wanted.get(organization_id):
            rows = rows.filter(started_at__lt=at - timedelta(days=keeping.days))
        while keys := list(rows.values_list("pk", flat=True)[:limit]):
            deleted += Transcript.unscoped.filter(pk__in=keys).delete()[0]
    return deleted
