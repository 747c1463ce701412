"""The ledger as people read it: lines with running sums, and the statement of a month.

Lines come by keyset and sums from what is newer than a line, so that a page near today costs the
same however old the ledger is. Amounts are nano-dollars, months are UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import TruncDate

from accounts import queries as people
from accounts.actors import Actor
from credits.models import Account, Entry, EntryQuerySet, Hold
from credits.queries import sum_of
from roocloud.lib.money import nanos_to_plain_usd

PAGE = 50
#: Holds that are shown of those that are open.
MOST_HOLDS = 20
#: Months that a ledger's list of statements goes back.
MOST_MONTHS = 120
#: Lines of a statement that are one by one, or models of one: more are one line.
MOST_LINES = 200
_EXPORT_BATCH = 1000


class Show(StrEnum):
    """Which lines."""

    ALL = "all"
    ADDED = "added"
    CHARGES = "charges"


_SHOWN = {
    Show.ALL: Q(),
    Show.ADDED: ~Q(kind=Entry.Kind.CHARGE),
    Show.CHARGES: Q(kind=Entry.Kind.CHARGE),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Days are UTC, both included; None leaves them open."""

    show: Show = Show.ALL
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of the ledger. sum_nanos: of it and every older line of those that are shown; of all
    lines that is the balance after it."""

    entry: Entry
    sum_nanos: int
    who: str  # who made it, or whose request it paid for
    model: str  # of a charge

    @property
    def completion_id(self) -> str:
        """Of a charge; empty for others."""
        return completion_of(self.entry)


def completion_of(entry: Entry) -> str:
    """The id of the completion that a charge is for; empty for other entries."""
    is_charge = entry.kind == Entry.Kind.CHARGE
    return entry.key.removeprefix(Entry.charge_key("")) if is_charge else ""


def page(actor: Actor, filters: Filters, *, before: str) -> tuple[list[Line], str]:
    """Lines that come after the one that ``before`` names, newest first, and the name to go on
    with; empty at the end. A name that makes no sense begins anew. Four queries at most."""
    shown = Entry.objects.visible_to(actor).filter(_SHOWN[filters.show])
    found, following = _batch(_of_days(shown, filters), before=before, size=PAGE)
    return _lines(actor, filters.show, found), following


def _of_days(rows: EntryQuerySet, filters: Filters) -> EntryQuerySet:
    if filters.first:
        rows = rows.filter(posted_at__gte=_midnight(filters.first))
    if filters.last:
        rows = rows.filter(posted_at__lt=_midnight(filters.last) + timedelta(days=1))
    return rows


def _batch(rows: EntryQuerySet, *, before: str, size: int) -> tuple[list[Entry], str]:
    at, entry_id = _read_name(before)
    if at is not None:
        rows = rows.filter(Q(posted_at__lt=at) | Q(pk__lt=entry_id), posted_at__lte=at)
    found = list(rows.select_related("hold").order_by("-posted_at", "-pk")[: size + 1])
    has_more = len(found) > size
    found = found[:size]
    return found, f"{found[-1].posted_at.isoformat()}~{found[-1].pk}" if has_more else ""


def _read_name(name: str) -> tuple[datetime | None, int]:
    instant, _, entry_id = name.partition("~")
    try:
        # Within what a column holds, whatever was typed.
        return datetime.fromisoformat(instant).astimezone(UTC), int(entry_id) % 2**63
    except (ValueError, OverflowError):
        return None, 0


def _lines(actor: Actor, show: Show, entries: Sequence[Entry]) -> list[Line]:
    if not entries:
        return []
    sum_nanos = _sum_at(actor, show, entries[0])
    names = people.names(filter(None, map(_who, entries)))
    lines = []
    for entry in entries:
        who = _who(entry)
        model = entry.hold.subjects.get("model", "") if entry.hold else ""
        lines.append(Line(entry, sum_nanos, names.get(who, who), model))
        sum_nanos -= entry.amount_nanos
    return lines


def _who(entry: Entry) -> str:
    return entry.hold.subjects.get("member", "") if entry.hold else entry.made_by_id


def _sum_at(actor: Actor, show: Show, entry: Entry) -> int:
    """Of an entry and all older ones of its kind. One statement, so that what is charged meanwhile
    is in all of its sums or in none."""
    newer = Q(posted_at__gt=entry.posted_at) | Q(posted_at=entry.posted_at, pk__gt=entry.pk)
    amount = F("amount_nanos")
    rows = Entry.unscoped.filter(_SHOWN[show])
    found = (
        Account.objects.visible_to(actor)
        .annotate(
            newer=sum_of(rows.filter(newer), amount),
            added=sum_of(Entry.unscoped.filter(_SHOWN[Show.ADDED]), amount),
        )
        .values("balance_nanos", "newer", "added")
        .get()
    )
    whole: int = {
        Show.ALL: found["balance_nanos"],
        Show.ADDED: found["added"],
        Show.CHARGES: found["balance_nanos"] - found["added"],
    }[show]
    return whole - int(found["newer"])


@dataclass(frozen=True, slots=True)
class InFlight:
    """What running requests of one kind have set aside."""

    hold: Hold
    who: str
    model: str


def in_flight(actor: Actor) -> list[InFlight]:
    """The open holds that the actor may see, newest first."""
    rows = Hold.objects.visible_to(actor).open().filter(amount_nanos__gt=F("cost_nanos"))
    found = list(rows.order_by("-placed_at", "-pk")[:MOST_HOLDS])
    names = people.names(hold.subjects.get("member", "") for hold in found)
    return [
        InFlight(
            hold, names.get(hold.subjects.get("member", ""), ""), hold.subjects.get("model", "")
        )
        for hold in found
    ]


# --- Statements -------------------------------------------------------------------------------


def months(actor: Actor, *, at: datetime) -> list[date]:
    """The first days of the months that have a statement, newest first."""
    oldest = (
        Entry.objects.visible_to(actor).order_by("posted_at").values_list("posted_at", flat=True)
    )
    begun = oldest.first()
    if begun is None:
        return []
    found = [at.astimezone(UTC).date().replace(day=1)]
    while found[-1] > begun.astimezone(UTC).date() and len(found) < MOST_MONTHS:
        found.append((found[-1] - timedelta(days=1)).replace(day=1))
    return found


def read_month(text: str) -> date | None:
    """The first day of ``2026-11``; None for what is no month."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def next_month(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Sums:
    """Charges of a day or of a model."""

    name: date | str
    count: int
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of a ledger. closing: of the month that runs, the balance now."""

    month: date
    opening_nanos: int
    closing_nanos: int
    added: Sequence[Line]  # oldest first
    added_nanos: int
    days: Sequence[Sums]
    models: Sequence[Sums]  # dearest first

    @property
    def charged_nanos(self) -> int:
        return sum(day.amount_nanos for day in self.days)

    @property
    def adds_up(self) -> bool:
        """Whether what is listed leads from the one balance to the other."""
        return self.opening_nanos + self.added_nanos + self.charged_nanos == self.closing_nanos


def statement(actor: Actor, month: date) -> Statement:
    """Seven queries at most, whatever happened in the month."""
    rows = _of_month(actor, month)
    opening, closing = _balances(actor, month)
    charges = rows.filter(_SHOWN[Show.CHARGES]).order_by()
    of_model = KeyTextTransform("model", "hold__subjects")
    added = rows.filter(_SHOWN[Show.ADDED])
    newest = list(added.select_related("hold").order_by("-posted_at", "-pk")[:MOST_LINES])
    return Statement(
        month=month,
        opening_nanos=opening,
        closing_nanos=closing,
        added=_lines(actor, Show.ADDED, newest)[::-1],
        added_nanos=added.aggregate(sum=Sum("amount_nanos"))["sum"] or 0,
        days=_sums(charges.annotate(name=TruncDate("posted_at", tzinfo=UTC)), "name"),
        models=_sums(charges.annotate(name=of_model), "sum", "name")[:MOST_LINES],
    )


def _sums(rows: QuerySet[Any], *order: str) -> list[Sums]:
    """rows: of entries, each with a ``name``."""
    found = rows.values_list("name").annotate(count=Count("pk"), sum=Sum("amount_nanos"))
    return [Sums(name or "", count, amount) for name, count, amount in found.order_by(*order)]


def _of_month(actor: Actor, month: date) -> EntryQuerySet:
    return Entry.objects.visible_to(actor).filter(
        posted_at__gte=_midnight(month), posted_at__lt=_midnight(next_month(month))
    )


def _balances(actor: Actor, month: date) -> tuple[int, int]:
    """At the beginning and at the end of a month; zero of an account that is not there yet."""
    rows, amount = Entry.unscoped.all(), F("amount_nanos")
    found = (
        Account.objects.visible_to(actor)
        .annotate(
            since=sum_of(rows.filter(posted_at__gte=_midnight(month)), amount),
            after=sum_of(rows.filter(posted_at__gte=_midnight(next_month(month))), amount),
        )
        .values_list("balance_nanos", "since", "after")
        .first()
    )
    if found is None:
        return 0, 0
    balance, since, after = found
    return balance - int(since), balance - int(after)


EXPORT_HEADER = (
    "posted_at", "kind", "amount_usd", "balance_usd", "who", "model", "note", "key",
)  # fmt: skip


def opening_line(actor: Actor, month: date) -> tuple[list[object], int]:
    """What a statement's CSV begins with, and the balance that it names."""
    opening, _ = _balances(actor, month)
    return _end_line(month, "opening balance", opening), opening


def closing_line(month: date, balance_nanos: int) -> list[object]:
    """What it ends with."""
    return _end_line(next_month(month), "closing balance", balance_nanos)


def _end_line(day: date, name: str, balance_nanos: int) -> list[object]:
    return [_midnight(day).isoformat(), name, "", nanos_to_plain_usd(balance_nanos), "", "", "", ""]


def export(
    actor: Actor, month: date, *, balance_nanos: int, after: str
) -> tuple[list[list[object]], int, str]:
    """A batch of a statement's lines, oldest first: the lines, the balance after them, and the name
    to go on with; empty at the end. balance_nanos: before the batch."""
    rows = _of_month(actor, month)
    at, entry_id = _read_name(after)
    if at is not None:
        rows = rows.filter(Q(posted_at__gt=at) | Q(pk__gt=entry_id), posted_at__gte=at)
    found = list(rows.select_related("hold").order_by("posted_at", "pk")[:_EXPORT_BATCH])
    emails = people.emails(filter(None, map(_who, found)))
    lines: list[list[object]] = []
    for entry in found:
        balance_nanos += entry.amount_nanos
        lines.append(_export_line(entry, balance_nanos, emails.get(_who(entry), _who(entry))))
    has_more = len(found) == _EXPORT_BATCH
    return (
        lines,
        balance_nanos,
        f"{found[-1].posted_at.isoformat()}~{found[-1].pk}" if has_more else "",
    )


def _export_line(entry: Entry, balance_nanos: int, who: str) -> list[object]:
    return [
        entry.posted_at.astimezone(UTC).isoformat(), entry.kind,
        nanos_to_plain_usd(entry.amount_nanos), nanos_to_plain_usd(balance_nanos), who,
        entry.hold.subjects.get("model", "") if entry.hold else "", entry.note, entry.key,
    ]  # fmt: skip


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)
