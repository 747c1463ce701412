"""The daily sums of what was used, beside the completions that they are the sum of: by model and
upstream, and by task.

A completion is added by the transaction that settles it, so the sums are never behind the ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from proxy.models import Completion, UsageDay, UsageTask
from roocloud.lib.bulk import Row, insert_rows


@dataclass(frozen=True, slots=True)
class _RollUp:
    """key: what its rows are told apart by. sums: what is added up, beside the number of
    completions, of one name in a completion and in a sum."""

    model: type[models.Model]
    key: tuple[str, ...]
    sums: tuple[str, ...]
    counts_failed: bool

    @property
    def add(self) -> tuple[str, ...]:
        return ("completions", *(("failed",) if self.counts_failed else ()), *self.sums)


_ROLL_UPS = (
    _RollUp(
        UsageDay,
        key=("organization_id", "day", "user_id", "model_id", "upstream_name"),
        sums=(
            "prompt_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "completion_tokens",
            "cost_nanos",
        ),
        counts_failed=True,
    ),
    _RollUp(
        UsageTask,
        key=("organization_id", "day", "user_id", "task_id", "model_id", "upstream_name"),
        sums=("prompt_tokens", "completion_tokens", "cost_nanos"),
        counts_failed=False,
    ),
)


def add(ended: Iterable[Row]) -> None:
    """Count completions, as their fields by name, that have just been settled. The caller's
    transaction holds the locks of their accounts, and whatever adds to the same row holds the same
    lock: no deadlock."""
    rows = [{**row, "day": row["started_at"].astimezone(UTC).date()} for row in ended]
    for roll_up in _ROLL_UPS:
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            key = {name: row[name] for name in roll_up.key}
            sums = found.setdefault((*key.values(),), key | dict.fromkeys(roll_up.add, 0))
            sums["completions"] += 1
            if roll_up.counts_failed:
                sums["failed"] += row["status"] == Completion.Status.FAILED
            for name in roll_up.sums:
                sums[name] += row[name]
        insert_rows(roll_up.model, [*found.values()], unique=roll_up.key, add=roll_up.add)


def rebuild() -> tuple[int, int]:
    """Make the sums anew from the completions: (rows, how many of them were not right before)."""
    with transaction.atomic():
        results = [_rebuild(roll_up) for roll_up in _ROLL_UPS]
    return sum(rows for rows, _ in results), sum(changed for _, changed in results)


def _rebuild(roll_up: _RollUp) -> tuple[int, int]:
    manager, fields = roll_up.model._default_manager, (*roll_up.key, *roll_up.add)
    if connection.vendor == "postgresql":
        # What is settling has either added its share already or waits to add it to the result.
        table = connection.ops.quote_name(roll_up.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
    before = set(manager.values_list(*fields))
    manager.all().delete()
    sums = _sums(Completion.unscoped.ended(), roll_up).iterator(chunk_size=1000)
    manager.bulk_create(
        (roll_up.model(**dict(zip(fields, row, strict=True))) for row in sums), batch_size=1000
    )
    after = set(manager.values_list(*fields))
    return len(after), len({row[: len(roll_up.key)] for row in before ^ after})


def _sums(
    completions: QuerySet[Completion], roll_up: _RollUp
) -> QuerySet[Completion, tuple[Any, ...]]:
    """What ended completions come to, a row a day."""
    failed = Count("pk", filter=Q(status=Completion.Status.FAILED))
    return (
        completions.annotate(day=TruncDate("started_at", tzinfo=UTC))
        .order_by()
        .values_list(*roll_up.key)
        .annotate(
            completions=Count("pk"),
            **({"failed": failed} if roll_up.counts_failed else {}),
            **{f"sum_{name}": Sum(name) for name in roll_up.sums},
        )
    )
