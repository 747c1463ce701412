"""The daily sums of what was used, beside the completions that they are the sum of.

A completion is added by the transaction that settles it, so the sums are never behind the ledger.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from proxy.models import Completion, UsageDay
from roocloud.lib.bulk import add_sums

_KEY = ("organization_id", "day", "user_id", "model_id", "upstream_name")
#: What is added up. Sums of one name in a completion and in a day, but for the first two.
TOKENS = ("prompt_tokens", "cache_read_tokens", "cache_write_tokens", "completion_tokens")
_ADD = ("completions", "failed", *TOKENS, "cost_nanos")


def _sums(completions: QuerySet[Completion]) -> QuerySet[Completion, tuple[Any, ...]]:
    """What ended completions come to, a row a day: the one definition of a UsageDay."""
    return (
        completions.annotate(day=TruncDate("started_at", tzinfo=UTC))
        .order_by()
        .values_list(*_KEY)
        .annotate(
            completions=Count("pk"),
            failed=Count("pk", filter=Q(status=Completion.Status.FAILED)),
            **{f"sum_{name}": Sum(name) for name in (*TOKENS, "cost_nanos")},
        )
    )


def add(completion_ids: Sequence[str]) -> None:
    """Count completions that have just been settled. The caller's transaction holds the locks of
    their accounts, and whatever adds to the same row holds the same lock: no deadlock."""
    if completion_ids:
        rows = Completion.unscoped.filter(pk__in=completion_ids)
        add_sums(UsageDay, _sums(rows), key=_KEY, add=_ADD)


def rebuild() -> tuple[int, int]:
    """Make the sums anew from the completions: (rows, how many of them were not right before)."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # What is settling has either added its share already or waits to add it to the result.
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE proxy_usageday IN EXCLUSIVE MODE")
        before = set(UsageDay.unscoped.values_list(*_KEY, *_ADD))
        UsageDay.unscoped.all().delete()
        add_sums(UsageDay, _sums(Completion.unscoped.ended()), key=_KEY, add=_ADD)
        after = set(UsageDay.unscoped.values_list(*_KEY, *_ADD))
    changed = {row[: len(_KEY)] for row in before ^ after}
    return len(after), len(changed)
