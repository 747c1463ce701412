"""Reads of the trail."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db.models import Count
from django.db.models.functions import TruncHour

from audit.models import Entry


def recent(limit: int) -> list[Entry]:
    """The newest entries."""
    return list(Entry.objects.order_by("-at", "pk")[:limit])


def hours(actions: Collection[str], *, since: datetime) -> Sequence[Mapping[str, object]]:
    """A row for each hour since ``since`` and action in which something was done: how often."""
    return list(
        Entry.objects.filter(action__in=actions, at__gte=since)
        .annotate(hour=TruncHour("at"))
        .values("hour", "action")
        .order_by("hour", "action")
        .annotate(count=Count("pk"))
    )
