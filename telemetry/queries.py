"""Reads of telemetry, for pages."""

from datetime import datetime

from django.db.models import Count, Max

from accounts.actors import Actor
from telemetry.models import Backfill, Event


def last_event(actor: Actor) -> datetime | None:
    """When an editor of the actor last reported something."""
    rows = Event.unscoped.filter(user_id=actor.user_id)
    last: datetime | None = rows.aggregate(at=Max("received_at"))["at"]
    return last


def backfill_states() -> dict[str, int]:
    """How many backfills are queued and how many failed."""
    rows = (
        Backfill.unscoped.filter(state__in=[Backfill.State.QUEUED, Backfill.State.FAILED])
        .order_by()
        .values_list("state")
        .annotate(count=Count("pk"))
    )
    counts = dict(rows)
    return {"queued": counts.get("queued", 0), "failed": counts.get("failed", 0)}
