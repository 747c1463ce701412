"""The figures on the first page of the admin: one query a room, whatever there is to count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.urls import reverse

from accounts import queries as accounts
from audit import queries as audit
from proxy import queries as proxy
from roocloud.lib.money import NANOS_PER_USD, format_usd
from tasks_sharing import queries as tasks
from telemetry import queries as telemetry

DAYS = 14


@dataclass(frozen=True, slots=True)
class Figure:
    """One card. values: a number a day, oldest first; total: of all of them, as people read it."""

    label: str
    total: str
    url: str
    values: list[float]
    is_alarm: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    days: list[date]
    cards: list[Figure]
    totals: list[tuple[str, int, str]]
    backfills: Mapping[str, int]
    recent: Sequence[object]

    @property
    def table(self) -> list[tuple[date, list[float]]]:
        """A row a day, for readers without a script."""
        return [
            (day, [card.values[index] for card in self.cards])
            for index, day in enumerate(self.days)
        ]


def figures(*, at: datetime) -> Figures:
    """What happened in the last fortnight, UTC days, today included."""
    since = at.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    days = [(since + timedelta(days=index)).date() for index in range(DAYS)]

    def series(rows: Sequence[Mapping[str, object]], key: str) -> list[int]:
        by_day = {row["day"]: row[key] for row in rows}
        return [int(str(by_day.get(day) or 0)) for day in days]

    people = accounts.dashboard_days(since)
    begun = tasks.dashboard_days(since)
    completed = proxy.dashboard_days(since)
    completions = reverse("admin:proxy_completion_changelist")
    spend = series(completed, "spend_nanos")
    failed = series(completed, "failed")
    totals = accounts.totals(at=at)
    return Figures(
        days=days,
        cards=[
            _card("Tasks", series(begun, "tasks"), reverse("admin:tasks_sharing_task_changelist")),
            _card("Completions", series(completed, "completions"), completions),
            _card("Tokens", series(completed, "tokens"), completions),
            Figure(
                "Spend",
                format_usd(sum(spend)),
                reverse("admin:credits_entry_changelist"),
                [nanos / NANOS_PER_USD for nanos in spend],
            ),
            _card(
                "Failed completions",
                failed,
                f"{completions}?status__exact=failed",
                is_alarm=sum(failed) > 0,
            ),
            _card("New people", series(people, "users"), reverse("admin:accounts_user_changelist")),
        ],
        totals=[
            ("People", totals["users"], reverse("admin:accounts_user_changelist")),
            (
                "Signed-in editors, command lines and jobs",
                totals["sessions"],
                reverse("admin:accounts_clientsession_changelist"),
            ),
        ],
        backfills=telemetry.backfill_states(),
        recent=audit.recent(10),
    )


def _card(label: str, values: list[int], url: str, *, is_alarm: bool = False) -> Figure:
    return Figure(label, f"{sum(values):,}", url, [float(value) for value in values], is_alarm)
