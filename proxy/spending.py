"""Reads of what was used and what it cost: the log of completions, its sums, and one explained.

Sums come from the daily roll-up and rows by keyset, so a page costs the same at a million rows.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Count, Min, Model, Q, QuerySet, Sum, Value

from accounts import api_keys
from accounts import queries as people
from accounts.actors import Actor
from credits import queries as credit
from proxy.models import Completion, CompletionQuerySet, UsageDay, UsageTask
from proxy.pricing import FREE, Usage, classes, cost_nanos
from roocloud.lib.text import is_storable
from tasks_sharing import queries as tasks
from tasks_sharing.bills import Bill

if TYPE_CHECKING:
    from credits.models import Entry
    from proxy.models import Price

M = TypeVar("M", bound=Model)

PAGE = 50
#: Days that the page shows where none are chosen.
DAYS = 30
#: Rows of a breakdown, and tasks that are looked up for one by repository or mode.
MOST_PARTS = 100
MOST_TASKS = 2000
_EXPORT_BATCH = 1000

_SUMS = (
    "completions", "failed", "prompt_tokens", "cache_read_tokens", "cache_write_tokens",
    "completion_tokens", "cost_nanos",
)  # fmt: skip
#: Breakdown -> field of the roll-up.
FIELDS = {"day": "day", "model": "model_id", "member": "user_id", "upstream": "upstream_name"}
#: Breakdowns by what the editor reported of a task.
OF_TASKS = ("repository", "mode", "task")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which completions. Empty means every; days are UTC, both included. is_team: everybody's in
    the organization, for its admins. not_…: what is left out."""

    first: date
    last: date
    is_team: bool = False
    member: str = ""
    model: str = ""
    upstream: str = ""
    status: str = ""
    task: str = ""
    key: str = ""
    not_member: tuple[str, ...] = ()
    not_model: tuple[str, ...] = ()
    not_upstream: tuple[str, ...] = ()

    @property
    def is_of_one(self) -> bool:
        """Of a task or an API key, which the daily sums do not tell apart."""
        return bool(self.task or self.key)


def default_days(at: datetime) -> tuple[date, date]:
    today = at.astimezone(UTC).date()
    return today - timedelta(days=DAYS - 1), today


# --- Rows -------------------------------------------------------------------------------------


def completions(actor: Actor, filters: Filters) -> CompletionQuerySet:
    """Those that the actor may see, newest first."""
    start = datetime.combine(filters.first, time.min, tzinfo=UTC)
    end = datetime.combine(filters.last, time.max, tzinfo=UTC)
    rows: CompletionQuerySet = Completion.objects.visible_to(actor)
    rows = rows.filter(started_at__gte=start, started_at__lte=end)
    exact = {
        "status": filters.status,
        "task_id": filters.task,
        "api_key_id": filters.key,
    }
    wanted = {name: value for name, value in exact.items() if value}
    narrowed: CompletionQuerySet = _narrowed(rows, actor, filters)  # type: ignore[assignment]
    return narrowed.filter(Q(**wanted)).order_by("-started_at", "-id")


def _narrowed(rows: QuerySet[M], actor: Actor, filters: Filters) -> QuerySet[M]:
    """By what completions and their sums have in common."""
    exact = {
        "user_id": filters.member if filters.is_team else actor.user_id,
        "model_id": filters.model,
        "upstream_name": filters.upstream,
    }
    wanted = {name: value for name, value in exact.items() if value}
    left_out = {
        "user_id__in": filters.not_member if filters.is_team else (),
        "model_id__in": filters.not_model,
        "upstream_name__in": filters.not_upstream,
    }
    for lookup, values in left_out.items():
        if values:
            rows = rows.exclude(**{lookup: values})
    return rows.filter(Q(**wanted))


def page(rows: QuerySet[Completion], *, before: str) -> tuple[list[Completion], str]:
    """A page of rows that come after the one that ``before`` names, and the name to go on with;
    empty at the end. A name that makes no sense begins anew."""
    return _batch(rows, before=before, size=PAGE)


def export(rows: QuerySet[Completion], *, before: str) -> tuple[list[list[object]], str]:
    """The same for an export: its lines, in batches."""
    found, following = _batch(rows, before=before, size=_EXPORT_BATCH)
    names = people.emails({row.user_id for row in found})
    return [_line(row, names) for row in found], following


def _batch(rows: QuerySet[Completion], *, before: str, size: int) -> tuple[list[Completion], str]:
    at, completion_id = _read_name(before)
    if at is not None:
        earlier = Q(started_at__lt=at) | Q(id__lt=completion_id)
        rows = rows.filter(earlier, started_at__lte=at)
    found = list(rows[: size + 1])
    has_more = len(found) > size
    found = found[:size]
    return found, f"{found[-1].started_at.isoformat()}~{found[-1].pk}" if has_more else ""


def _read_name(name: str) -> tuple[datetime | None, str]:
    instant, _, completion_id = name.partition("~")
    try:
        at = datetime.fromisoformat(instant).astimezone(UTC)
    except (ValueError, OverflowError):
        return None, ""
    return (at, completion_id) if is_storable(completion_id) else (None, "")


EXPORT_HEADER = (
    "started_at", "id", "member", "task_id", "model", "upstream", "status", "prompt_tokens",
    "cache_read_tokens", "cache_write_tokens", "completion_tokens", "estimated", "cost_nano_usd",
    "first_byte_ms", "duration_ms", "error", "api_key_id",
)  # fmt: skip


def _line(row: Completion, emails: Mapping[str, str]) -> list[object]:
    return [
        row.started_at.astimezone(UTC).isoformat(), row.pk, emails.get(row.user_id, row.user_id),
        row.task_id, row.model_id, row.upstream_name, row.status, row.prompt_tokens,
        row.cache_read_tokens, row.cache_write_tokens, row.completion_tokens,
        "yes" if row.is_estimated else "no", row.cost_nanos, row.first_byte_ms, row.duration_ms,
        row.error, row.api_key_id,
    ]  # fmt: skip


# --- Sums -------------------------------------------------------------------------------------


def days(actor: Actor, filters: Filters) -> QuerySet[UsageDay]:
    """The daily sums that the filters leave."""
    return _rolled_up(UsageDay.objects.visible_to(actor), actor, filters)


def days_of_tasks(actor: Actor, filters: Filters) -> QuerySet[UsageTask]:
    """The same, apart by task."""
    return _rolled_up(UsageTask.objects.visible_to(actor), actor, filters)


def first_day(actor: Actor, *, is_team: bool) -> date | None:
    """Of the first completion that the actor may see."""
    rows = UsageDay.objects.visible_to(actor)
    rows = rows if is_team else rows.filter(user_id=actor.user_id)
    first: date | None = rows.aggregate(first=Min("day"))["first"]
    return first


def _rolled_up(rows: QuerySet[M], actor: Actor, filters: Filters) -> QuerySet[M]:
    """The daily sums that the filters leave."""
    days = rows.filter(day__gte=filters.first, day__lte=filters.last)
    return _narrowed(days, actor, filters)


def totals(actor: Actor, filters: Filters) -> dict[str, int]:
    """Of completions that have ended, whatever their status. Those of a task or an API key are
    counted, which an index makes cheap; others are added up from the days."""
    if filters.is_of_one:
        ended = completions(actor, replace(filters, status="")).ended()
        found = ended.order_by().aggregate(
            completions=Count("pk"),
            failed=Count("pk", filter=Q(status=Completion.Status.FAILED)),
            **{name: Sum(name) for name in _SUMS[2:]},
        )
    else:
        found = days(actor, filters).aggregate(**{name: Sum(name) for name in _SUMS})
    return {name: value or 0 for name, value in found.items()}


def of_members(organization_id: str, user_ids: Collection[str], since: date) -> Mapping[str, int]:
    """Nano-dollars by person; see orgs.spending."""
    rows = UsageDay.unscoped.filter(
        organization_id=organization_id, user_id__in=user_ids, day__gte=since
    )
    return dict(rows.values_list("user_id").annotate(spent_nanos=Sum("cost_nanos")))


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a breakdown. value: what it is filtered by, empty for none."""

    value: str
    name: str
    completions: int
    tokens: int
    cost_nanos: int


def breakdown(actor: Actor, filters: Filters, *, by: str) -> list[Part]:
    """The same sums apart by one of FIELDS or OF_TASKS: days newest first, others dearest first."""
    if by in OF_TASKS:
        return _by_task_fact(actor, filters, by=by)
    field = FIELDS[by]
    order = ["-day"] if by == "day" else ["-cost", field]
    rows = list(
        days(actor, filters)
        .values_list(field)
        .annotate(
            count=Sum("completions"),
            tokens=Sum("prompt_tokens") + Sum("completion_tokens"),
            cost=Sum("cost_nanos"),
        )
        .order_by(*order)[:MOST_PARTS]
    )
    names = people.names({str(row[0]) for row in rows}) if by == "member" else {}
    return [
        Part(str(value), names.get(str(value), str(value)), *numbers) for value, *numbers in rows
    ]


def _by_task_fact(actor: Actor, filters: Filters, *, by: str) -> list[Part]:
    """Through the dearest tasks; the rest is one part, as is what belongs to none."""
    rows: QuerySet[Any]
    if filters.is_of_one:
        rows = completions(actor, filters).ended().order_by().annotate(completions=Value(1))
    else:
        rows = days_of_tasks(actor, filters)
    grouped = list(
        rows.values_list("user_id", "task_id")
        .annotate(
            count=Sum("completions"),
            tokens=Sum("prompt_tokens") + Sum("completion_tokens"),
            cost=Sum("cost_nanos"),
        )
        .order_by("-cost", "user_id", "task_id")
    )
    if by == "task":
        return _tasks(actor, filters, grouped)
    known = tasks.facts(
        actor,
        {task_id for _, task_id, *_ in grouped[:MOST_TASKS] if task_id},
        is_team=filters.is_team,
    )
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for user_id, task_id, *numbers in grouped:
        fact = known.get((user_id, task_id))
        name = (getattr(fact, by) if fact else "") or f"No {by} known"
        sums[name] = [a + b for a, b in zip(sums[name], numbers, strict=True)]
    parts = [Part("", name, *numbers) for name, numbers in sums.items()]
    return sorted(parts, key=lambda part: (-part.cost_nanos, part.name))[:MOST_PARTS]


def _tasks(actor: Actor, filters: Filters, grouped: Sequence[tuple[Any, ...]]) -> list[Part]:
    """The dearest, by the titles of those that the actor may list."""
    dearest = grouped[:MOST_PARTS]
    ids = {task_id for _, task_id, *_ in dearest if task_id}
    known = tasks.facts(actor, ids, is_team=filters.is_team)
    parts = []
    for user_id, task_id, *numbers in dearest:
        fact = known.get((user_id, task_id))
        name = (fact.title if fact else "") or task_id or "Outside of tasks"
        parts.append(Part(task_id, name, *numbers))
    return parts


def repositories(actor: Actor, filters: Filters) -> dict[tuple[str, str], str]:
    """Of the dearest tasks, by owner and client's id, the repository as far as the actor may list
    the task and the editor reported one."""
    dearest = list(
        days_of_tasks(actor, filters)
        .exclude(task_id="")
        .order_by()
        .values_list("user_id", "task_id")
        .annotate(cost=Sum("cost_nanos"))
        .order_by("-cost", "user_id", "task_id")[:MOST_TASKS]
    )
    ids = {task_id for _, task_id, _ in dearest}
    known = tasks.facts(actor, ids, is_team=filters.is_team)
    return {key: fact.repository for key, fact in known.items() if fact.repository}


def choices(
    actor: Actor, *, keys: Mapping[str, tuple[str, str]], is_team: bool
) -> dict[str, list[tuple[str, str]]]:
    """What there is to filter by: (value, name) of members, models, upstreams and API keys.

    keys: see accounts.api_keys.labels.
    """
    rows = UsageDay.objects.visible_to(actor)
    if not is_team:
        rows = rows.filter(user_id=actor.user_id)
    found = set(rows.order_by().values_list("user_id", "model_id", "upstream_name").distinct())
    names = people.names({user_id for user_id, *_ in found}) if is_team else {}
    members = {(user_id, names.get(user_id, user_id)) for user_id, *_ in found}
    return {
        "member": sorted(members, key=lambda member: (member[1].casefold(), member[0])),
        "model": sorted({(model, model) for _, model, _ in found}),
        "upstream": sorted({(upstream, upstream) for *_, upstream in found}),
        "key": [
            (key_id, f"{name}, {owner}" if is_team else name)
            for key_id, (name, owner) in keys.items()
        ],
    }


# --- A task, and one completion ---------------------------------------------------------------


def task_bill(owner_id: str, task_id: str) -> Bill | None:
    """Answers tasks_sharing.bills: by the id of the owner and the client's of the task."""
    rows = Completion.unscoped.filter(task_id=task_id, user_id=owner_id)
    is_running = Q(status=Completion.Status.RUNNING)
    found = rows.aggregate(
        completions=Count("pk"),
        running=Count("pk", filter=is_running),
        cost=Sum("cost_nanos", filter=~is_running),
        estimated=Count("pk", filter=~is_running & Q(is_estimated=True)),
    )
    if not found["completions"]:
        return None
    return Bill(
        completions=found["completions"],
        running=found["running"],
        cost_nanos=found["cost"] or 0,
        is_estimated=found["estimated"] > 0,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One product: tokens of a class at its price. usd: exact, also below a nano-dollar."""

    name: str
    tokens: int
    nanos_per_mtok: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Explained:
    """A completion with everything that its cost came from, step by step."""

    completion: Completion
    member: str
    key: str  # as its owner calls it, empty without one
    lines: Sequence[Line]
    images_nanos: int  # those charged by the piece
    sum_nanos: int  # of the lines, rounded up once
    price: "Price | None"
    is_long: bool  # the lines are at the rates of long prompts
    entry: "Entry | None"


def explained(actor: Actor, completion_id: str) -> Explained | None:
    """One that the actor may see. Four queries, with an API key."""
    visible = Completion.objects.visible_to(actor).select_related("price")
    row = visible.filter(pk=completion_id).first()
    if row is None:
        return None
    rates = row.price.rates() if row.price else FREE
    used = Usage(
        prompt=row.prompt_tokens,
        completion=row.completion_tokens,
        cache_read=row.cache_read_tokens,
        cache_write=row.cache_write_tokens,
        images=row.images,
    )
    lines = [
        Line(name, tokens, rate, Decimal(tokens * rate) / 10**15)
        for name, tokens, rate in classes(used, rates)
    ]
    return Explained(
        completion=row,
        member=people.names([row.user_id]).get(row.user_id, row.user_id),
        key=api_keys.name_of(row.api_key_id) if row.api_key_id else "",
        lines=[line for line in lines if line.tokens],
        images_nanos=row.images * rates.image,
        sum_nanos=cost_nanos(used, rates),
        price=row.price,
        is_long=rates.holding(used.prompt) is not rates,
        entry=credit.charge_of(row.pk, hold_id=row.hold_id),
    )
