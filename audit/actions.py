"""The one way into the trail."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db import transaction

from audit import chain
from audit.models import Entry
from roocloud.lib import whence
from roocloud.lib.text import clean_label


class By(Protocol):
    """Who did it: ``accounts.actors.Actor`` has this shape."""

    @property
    def user_id(self) -> str: ...
    @property
    def organization_id(self) -> str | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def session_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One thing that was done; the fields are those of ``record``."""

    action: str
    actor: By | None
    target_kind: str
    target_id: str
    at: datetime
    organization_id: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    note: str = ""


def record(
    *,
    action: str,
    actor: By | None,
    target_kind: str,
    target_id: str,
    at: datetime,
    organization_id: str | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    note: str = "",
) -> None:
    """Add one entry, in the caller's transaction: the deed and its trace stand or fall together.

    action: ``noun.past_participle``. actor: None for the server itself. organization_id: the one
    concerned, by default the actor's. before, after: the changed fields alone, as JSON; no secret
    and no text of a conversation may be among them (I1).
    """
    record_all(
        [
            Trace(
                action=action,
                actor=actor,
                target_kind=target_kind,
                target_id=target_id,
                at=at,
                organization_id=organization_id,
                before=before,
                after=after,
                note=note,
            )
        ]
    )


def record_all(traces: Iterable[Trace]) -> None:
    """Add an entry for each, in the caller's transaction. Two queries."""
    with transaction.atomic(savepoint=False):
        chain.loosen(Entry.objects.bulk_create(_entry(trace) for trace in traces))


def _entry(trace: Trace) -> Entry:
    actor, organization_id = trace.actor, trace.organization_id
    where = whence.current()
    if organization_id is None and actor is not None:
        organization_id = actor.organization_id
    return Entry(
        at=trace.at,
        action=trace.action,
        actor_id=actor.user_id if actor else "",
        actor_kind=str(actor.kind) if actor else "",
        session_id=(actor.session_id or "") if actor else "",
        network=where.network,
        request_id=where.request_id,
        organization_id=organization_id or "",
        target_kind=trace.target_kind,
        target_id=clean_label(trace.target_id, 128),
        before=trace.before,
        after=trace.after,
        note=clean_label(trace.note, 500),
    )
