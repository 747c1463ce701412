"""What the page of usage shows above its log: figures, each with its course, and one of them as a
chart. All of it is read from the daily sums.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, F, Sum
from django.db.models.functions import TruncMonth

from accounts import queries as people
from accounts.actors import Actor
from credits import overview as budgets
from credits.budgets import describe
from proxy import charts, spending
from proxy.spending import Filters
from roocloud.lib.money import format_usd

#: The longest span, in days, whose columns are days; of longer ones they are months.
_MOST_DAYS = 92
#: A longer span is cut to where there is something.
_LONG_DAYS = 400
PERIODS = {"7d": "7 days", "30d": "30 days", "12m": "12 months", "all": "All"}


class Metric(StrEnum):
    COST = "cost"
    COMPLETIONS = "completions"
    PER_TASK = "per-task"
    TOKENS = "tokens"
    PEOPLE = "people"


_NAMES = {
    Metric.COST: "Cost",
    Metric.COMPLETIONS: "Completions",
    Metric.PER_TASK: "Cost per task",
    Metric.TOKENS: "Tokens",
    Metric.PEOPLE: "Active people",
}
_IN_USD = {Metric.COST, Metric.PER_TASK}
#: Figures whose parts add up to the whole.
_ADDS_UP = {Metric.COST, Metric.COMPLETIONS, Metric.TOKENS}
_TOKENS = F("prompt_tokens") + F("completion_tokens")
_SUMS = {
    Metric.COST: Sum("cost_nanos"),
    Metric.COMPLETIONS: Sum("completions"),
    Metric.TOKENS: Sum(_TOKENS),
}
_CLASSES = {
    "Input": F("prompt_tokens") - F("cache_read_tokens") - F("cache_write_tokens"),
    "Read from a cache": F("cache_read_tokens"),
    "Written to a cache": F("cache_write_tokens"),
    "Output": F("completion_tokens"),
}


def period_days(period: str, *, first_of_all: date | None, at: datetime) -> tuple[date, date]:
    """The days of one of PERIODS; of any other text those of a page where none are chosen."""
    today = at.astimezone(UTC).date()
    if period == "7d":
        return today - timedelta(days=6), today
    if period == "12m":
        return (today.replace(day=1) - timedelta(days=330)).replace(day=1), today
    if period == "all":
        return first_of_all or today, today
    return spending.default_days(at)


@dataclass(frozen=True, slots=True)
class Card:
    """A figure, and what leads to its chart. spark: see charts.spark."""

    metric: Metric
    name: str
    text: str
    spark: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Insight:
    """stacks: what the chart can be stacked by. forecast: a sentence, empty without one."""

    cards: Sequence[Card]
    metric: Metric
    name: str
    stack: str
    stacks: Sequence[str]
    chart: charts.Chart | None
    legend: Sequence[tuple[int, str, str]]
    forecast: str


@dataclass(frozen=True, slots=True)
class _Course:
    """The figures of each column. starts: first days, oldest first."""

    starts: Sequence[date]
    is_by_day: bool
    values: Mapping[Metric, list[int]]


def insight(actor: Actor, filters: Filters, *, metric: str, stack: str, at: datetime) -> Insight:
    """Ten queries at most beside those of budgets, whatever there is to count."""
    chosen = Metric(metric) if metric in set(Metric) else Metric.COST
    course = _course(actor, filters)
    totals = _totals(actor, filters, course)
    cards = [
        Card(one, _NAMES[one], written(one, totals[one]), charts.spark(values), one is chosen)
        for one, values in course.values.items()
    ]
    stacks = _stacks(filters, chosen)
    stack = stack if stack in stacks else stacks[0]
    series = _series(actor, filters, course, chosen, stack) if len(course.starts) > 1 else []

    def as_text(value: int) -> str:
        return written(chosen, value)

    chart = None
    if any(one.total for one in series):
        labels = [_column(course, start, filters) for start in course.starts]
        limits = _limits(actor, filters, course, at=at) if chosen is Metric.COST else []
        chart = charts.stacked(labels, series, limits=limits, written=as_text)
    return Insight(
        cards=cards,
        metric=chosen,
        name=_NAMES[chosen],
        stack=stack,
        stacks=stacks,
        chart=chart,
        legend=[(one.number, one.name, as_text(one.total)) for one in series if stack != "nothing"],
        forecast=_forecast(course, filters, at=at) if chosen is Metric.COST else "",
    )


def written(metric: Metric, value: int) -> str:
    return format_usd(value) if metric in _IN_USD else f"{value:,}"


def _course(actor: Actor, filters: Filters) -> _Course:
    is_by_day = (filters.last - filters.first).days < _MOST_DAYS
    bucket = F("day") if is_by_day else TruncMonth("day")
    sums = spending.days(actor, filters).annotate(bucket=bucket).order_by().values("bucket")
    found: dict[date, Any] = {
        row["bucket"]: row
        for row in sums.annotate(
            cost=Sum("cost_nanos"),
            count=Sum("completions"),
            tokens=Sum(_TOKENS),
            people=Count("user_id", distinct=True),
        )
    }
    of_tasks = spending.days_of_tasks(actor, filters).exclude(task_id="")
    tasks = {
        row["bucket"]: row["cost"] // row["tasks"]
        for row in of_tasks.annotate(bucket=bucket)
        .order_by()
        .values("bucket")
        .annotate(tasks=Count("task_id", distinct=True), cost=Sum("cost_nanos"))
    }
    starts = _starts(filters, is_by_day=is_by_day, known=found)

    def of(name: str) -> list[int]:
        return [found[start][name] if start in found else 0 for start in starts]

    values = {
        Metric.COST: of("cost"),
        Metric.COMPLETIONS: of("count"),
        Metric.PER_TASK: [tasks.get(start, 0) for start in starts],
        Metric.TOKENS: of("tokens"),
    }
    if filters.is_team:
        values[Metric.PEOPLE] = of("people")
    return _Course(starts, is_by_day, values)


def _starts(filters: Filters, *, is_by_day: bool, known: Mapping[date, object]) -> list[date]:
    """Every day, or the first day of every month, that has a column."""
    first, last = filters.first, filters.last
    if (last - first).days > _LONG_DAYS:
        first, last = min(known, default=first), max(known, default=first)
    if first > last:
        return []
    if is_by_day:
        return [first + timedelta(days=day) for day in range((last - first).days + 1)]
    starts = [first.replace(day=1)]
    while (following := _next_month(starts[-1])) <= last:
        starts.append(following)
    return starts


def _next_month(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def _totals(actor: Actor, filters: Filters, course: _Course) -> dict[Metric, int]:
    """People and tasks are counted once, however many days they were active on."""
    found = {metric: sum(course.values[metric]) for metric in _ADDS_UP}
    of_tasks = spending.days_of_tasks(actor, filters).exclude(task_id="")
    tasks = of_tasks.aggregate(count=Count("task_id", distinct=True), cost=Sum("cost_nanos"))
    found[Metric.PER_TASK] = (tasks["cost"] or 0) // max(tasks["count"], 1)
    if filters.is_team:
        rows = spending.days(actor, filters)
        found[Metric.PEOPLE] = rows.aggregate(count=Count("user_id", distinct=True))["count"]
    return found


# --- The chart --------------------------------------------------------------------------------


def _stacks(filters: Filters, metric: Metric) -> list[str]:
    if metric not in _ADDS_UP:
        return ["nothing"]
    members = ["member"] if filters.is_team else []
    classes = ["class"] if metric is Metric.TOKENS else []
    return ["nothing", "model", *members, "upstream", "repository", *classes]


def _series(
    actor: Actor, filters: Filters, course: _Course, metric: Metric, stack: str
) -> list[charts.Series]:
    if stack == "nothing":
        return [charts.Series(_NAMES[metric], course.values.get(metric, []))]
    found: dict[str, list[int]] = defaultdict(lambda: [0] * len(course.starts))
    places = {start: place for place, start in enumerate(course.starts)}
    for start, name, amount in _parts(actor, filters, course, metric, stack):
        found[name][places[start]] += amount
    names = people.names(found) if stack == "member" else {}
    return charts.largest(
        [charts.Series(names.get(value, value), values) for value, values in found.items()]
    )


def _parts(
    actor: Actor, filters: Filters, course: _Course, metric: Metric, stack: str
) -> Iterator[tuple[date, str, int]]:
    """(first day of a column, part, amount); a part may come several times."""
    bucket = F("day") if course.is_by_day else TruncMonth("day")
    rows = spending.days(actor, filters).annotate(bucket=bucket).order_by()
    if stack == "class":
        for name, value in _CLASSES.items():
            for start, amount in rows.values_list("bucket").annotate(amount=Sum(value)):
                yield start, name, amount
    elif stack == "repository":
        of_tasks = spending.days_of_tasks(actor, filters).annotate(bucket=bucket).order_by()
        known = spending.repositories(actor, filters)
        ids = {task_id for _, task_id in known}
        whole = dict(zip(course.starts, course.values[metric], strict=True))
        apart = of_tasks.filter(task_id__in=ids).values_list("bucket", "user_id", "task_id")
        for start, user_id, task_id, amount in apart.annotate(amount=_SUMS[metric]):
            if repository := known.get((user_id, task_id)):
                whole[start] -= amount
                yield start, repository, amount
        for start, rest in whole.items():
            yield start, "No repository known", max(rest, 0)  # settled meanwhile
    else:
        parts = rows.values_list("bucket", spending.FIELDS[stack])
        yield from parts.annotate(amount=_SUMS[metric])


def _column(course: _Course, start: date, filters: Filters) -> tuple[str, str]:
    """What a column is called, and the days that it stands for as a query."""
    if course.is_by_day:
        first, last, label = start, start, f"{start:%-d %b}"
    else:
        last_day = _next_month(start) - timedelta(days=1)
        first, last = max(start, filters.first), min(last_day, filters.last)
        label = f"{start:%b %Y}"
    return label, urlencode({"first": first.isoformat(), "last": last.isoformat()})


def _limits(
    actor: Actor, filters: Filters, course: _Course, *, at: datetime
) -> list[tuple[str, int]]:
    """The budgets that a column can be compared with: of everything where everything is shown, of
    the one member or model otherwise. Over days, those of a month by what they leave for a day."""
    wanted = _budgets_of(actor, filters)
    period = "day" if course.is_by_day else "month"
    lines = []
    for one in budgets.touching(actor, at=at) if wanted else ():
        budget = one.budget
        if (budget.scope, budget.subject) not in wanted or not budget.limit_nanos:
            continue
        if budget.period == period:
            lines.append((describe(budget).capitalize(), budget.limit_nanos))
        elif course.is_by_day and budget.period == "month":
            days = (_next_month(filters.last) - filters.last.replace(day=1)).days
            lines.append(("A day's part of the monthly budget", budget.limit_nanos // days))
    return lines


def _budgets_of(actor: Actor, filters: Filters) -> set[tuple[str, str]]:
    """(scope, subject) of those that are about exactly what is shown."""
    everything = Filters(filters.first, filters.last, is_team=filters.is_team)
    is_whole = filters.is_team or actor.organization_id is None
    if filters == everything:
        return {("account", "")} if is_whole else {("member", actor.user_id), ("member", "")}
    if filters == replace(everything, member=filters.member):
        return {("member", filters.member), ("member", "")}
    if filters == replace(everything, model=filters.model) and is_whole:
        return {("model", filters.model), ("model", "")}
    return set()


def _forecast(course: _Course, filters: Filters, *, at: datetime) -> str:
    """What the month comes to if it goes on as it began; of days that show all of it so far."""
    today = at.astimezone(UTC).date()
    month = today.replace(day=1)
    if not course.is_by_day or filters.first > month or filters.last < today or today.day < 3:
        return ""
    spent = sum(
        cost
        for start, cost in zip(course.starts, course.values[Metric.COST], strict=True)
        if month <= start <= today
    )
    if not spent:
        return ""
    following = _next_month(month)
    whole = spent * (following - month).days // today.day
    return (
        f"{format_usd(spent)} in {month:%B} so far; at this pace it comes to {format_usd(whole)}."
    )
