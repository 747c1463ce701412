"""The list of tasks: filtered, searched, and read page by page.

A page costs the same however many tasks there are. Pages go on where the last one ended, nothing is
counted, and where filters leave little, a page looks through so many tasks and says how far it got.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.db.models import F, Q, QuerySet

from accounts.actors import Actor
from roocloud.lib.money import MAX_NANOS, NANOS_PER_USD
from roocloud.lib.text import is_storable
from tasks_sharing import search
from tasks_sharing.models import Share, Task
from tasks_sharing.queries import Sight

PAGE = 50
#: Tasks that one page looks through, in their order, and among those that a search found.
LOOKS, LOOKS_FOUND = 5_000, 400


@dataclass(frozen=True, slots=True)
class Filters:
    """What to show; what is empty or None filters nothing.

    text: words, see tasks_sharing.search. member: a person's id, in a list of the team.
    first, last: days (UTC) of the last activity. least, most: cost in USD.
    """

    text: str = ""
    member: str = ""
    repository: str = ""
    mode: str = ""
    model: str = ""
    outcome: str = ""
    first: date | None = None
    last: date | None = None
    least: Decimal | None = None
    most: Decimal | None = None

    @property
    def is_any(self) -> bool:
        return any(getattr(self, field.name) not in ("", None) for field in fields(self))

    @property
    def facts(self) -> Q:
        """But for days and members, by which tasks lie in order."""
        wanted = {
            "repository_name__icontains": self.repository,
            "mode__iexact": self.mode,
            "model__icontains": self.model,
            "status": self.outcome,
            "cost_nanos__gte": _nanos(self.least),
            "cost_nanos__lte": _nanos(self.most),
        }
        return Q(**{name: value for name, value in wanted.items() if value not in ("", None)})

    @property
    def days(self) -> Q:
        wanted = Q()
        if self.first:
            wanted &= Q(last_activity_at__gte=datetime.combine(self.first, time(), UTC))
        if self.last and self.last < date.max:
            end = datetime.combine(self.last + timedelta(days=1), time(), UTC)
            wanted &= Q(last_activity_at__lt=end)
        return wanted


def _nanos(usd: Decimal | None) -> int | None:
    return None if usd is None else min(int(usd * NANOS_PER_USD), MAX_NANOS)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of tasks. following: names where the next one begins; empty at the end. is_cut: not
    everything before ``following`` was shown that might have been: look further from there."""

    tasks: Sequence[Task]
    following: str = ""
    is_cut: bool = False


def listed(
    sight: Sight,
    filters: Filters,
    *,
    after: str,
    size: int = PAGE,
    only_openable: bool = False,
) -> Listed:
    """A page of what somebody may see in a list, that by ``after`` begins where another ended; a
    name that makes no sense begins anew. Latest activity first; of a search, latest begun first."""
    rows = sight.openable if only_openable else sight.rows
    if filters.member:
        rows = rows.filter(owner_id=filters.member)
    if filters.text:
        return _found(sight, rows, filters, after=after, size=size)
    return _latest(sight, rows, filters, after=after, size=size)


def _latest(
    sight: Sight, rows: QuerySet[Task], filters: Filters, *, after: str, size: int
) -> Listed:
    wanted = filters.days
    at, pk = _read_name(after)
    if at is not None:
        wanted &= Q(Q(last_activity_at__lt=at) | Q(pk__gt=pk), last_activity_at__lte=at)
    edge = None
    if filters.facts:
        places = sight.places.filter(wanted)
        if filters.member:
            places = places.filter(owner_id=filters.member)
        order = places.values_list("last_activity_at", "pk")
        edge = next(iter(order[LOOKS - 1 : LOOKS]), None)
        wanted &= filters.facts
    rows = rows.filter(wanted)
    if edge:
        at, pk = edge
        rows = rows.filter(Q(last_activity_at__gt=at) | Q(pk__lte=pk), last_activity_at__gte=at)
    found = list(rows[: size + 1])
    if len(found) > size:
        last = found[size - 1]
        return Listed(found[:size], _name(last.last_activity_at, last.pk))
    return Listed(found, _name(*edge), is_cut=True) if edge else Listed(found)


def _name(at: datetime, pk: str) -> str:
    return f"{at.isoformat()}~{pk}"


def _read_name(name: str) -> tuple[datetime | None, str]:
    instant, _, pk = name.partition("~")
    try:
        at = datetime.fromisoformat(instant).astimezone(UTC)
    except (ValueError, OverflowError):
        return None, ""
    return (at, pk) if is_storable(pk) else (None, "")


def _found(
    sight: Sight, rows: QuerySet[Task], filters: Filters, *, after: str, size: int
) -> Listed:
    asked = search.read(filters.text)
    if not asked:
        return Listed([])
    is_narrow = bool(filters.facts or filters.days)
    looks = LOOKS_FOUND if is_narrow else size + 1
    places = search.find(
        asked,
        owner_id=(filters.member or None) if sight.is_team else sight.actor.user_id,
        organization_id=sight.actor.organization_id,
        before=_read_place(after),
        limit=looks,
    )
    rows = rows.filter(filters.facts, filters.days, said__pk__in=places)
    found = list(rows.annotate(place=F("said__pk")).order_by("-place")[: size + 1])
    if len(found) > size:
        return Listed(found[:size], str(found[size - 1].place))
    # Fewer than were looked for: filters left them out, or a change came in between.
    return Listed(found, str(places[-1]), is_cut=True) if len(places) == looks else Listed(found)


def _read_place(name: str) -> int:
    is_number = name.isascii() and name.isdigit() and len(name) < 20
    return min(int(name), search.MAX_PLACE) if is_number else search.MAX_PLACE


def chosen(actor: Actor, pks: Sequence[str]) -> QuerySet[Task]:
    """The actor's own among some tasks, at most a page of them."""
    some = [pk for pk in pks if is_storable(pk)][:PAGE]
    return (
        Task.objects.visible_to(actor)
        .filter(pk__in=some)
        .select_related("owner")
        .order_by("-last_activity_at", "pk")
    )


def live_shares(tasks: Sequence[Task], *, at: datetime) -> int:
    """Links that go with the tasks."""
    return Share.unscoped.live(at).filter(task__in=tasks).count()
