"""Reads of telemetry, for pages."""

from django.db.models import Count

from telemetry.models import Backfill


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
