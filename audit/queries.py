"""Reads of the trail."""

from audit.models import Entry


def recent(limit: int) -> list[Entry]:
    """The newest entries."""
    return list(Entry.objects.order_by("-at", "pk")[:limit])
