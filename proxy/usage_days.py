"""The daily sums of what was used, beside the completions that they are the sum of.

A completion is added by the transaction that settles it, so the sums are never behind the ledger.
"""

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from proxy.models import Completion, UsageDay
from roocloud.lib.bulk import Row, insert_rows

_KEY = ("organization_id", "day", "user_id", "model_id", "upstream_name")
#: What is added up, of one name in a completion and in a day.
TOKENS = ("prompt_tokens", "cache_read_tokens", "cache_write_tokens", "completion_tokens")
_SUMS = (*TOKENS, "cost_nanos")
_ADD = ("completions", "failed", *_SUMS)


def add(ended: Iterable[Row]) -> None:
    """Count completions, as their fields by name, that have just been settled. The caller's
    transaction holds the locks of their accounts, and whatever adds to the same row holds the same
    lock: no deadlock."""
    days: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in ended:
        key = {**row, "day": row["started_at"].astimezone(UTC).date()}
        day = {name: key[name] for name in _KEY}
        sums = days.setdefault((*day.values(),), day | dict.fromkeys(_ADD, 0))
        sums["completions"] += 1
        sums["failed"] += row["status"] == Completion.Status.FAILED
        for name in _SUMS:
            sums[name] += row[name]
    insert_rows(UsageDay, [*days.values()], unique=_KEY, add=_ADD)


def rebuild() -> tuple[int, int]:
    """Make the sums anew from the completions: (rows, how many of them were not right before)."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # What is settling has either added its share already or waits to add it to the result.
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE proxy_usageday IN EXCLUSIVE MODE")
        before = set(UsageDay.unscoped.values_list(*_KEY, *_ADD))
        UsageDay.unscoped.all().delete()
        sums = _sums(Completion.unscoped.ended()).iterator(chunk_size=1000)
        UsageDay.unscoped.bulk_create(
            (UsageDay(**dict(zip((*_KEY, *_ADD), row, strict=True))) for row in sums),
            batch_size=1000,
        )
        after = set(UsageDay.unscoped.values_list(*_KEY, *_ADD))
    changed = {row[: len(_KEY)] for row in before ^ after}
    return len(after), len(changed)


def _sums(completions: QuerySet[Completion]) -> QuerySet[Completion, tuple[Any, ...]]:
    """What ended completions come to, a row a day."""
    return (
        completions.annotate(day=TruncDate("started_at", tzinfo=UTC))
        .order_by()
        .values_list(*_KEY)
        .annotate(
            completions=Count("pk"),
            failed=Count("pk", filter=Q(status=Completion.Status.FAILED)),
            **{f"sum_{name}": Sum(name) for name in _SUMS},
        )
    )
