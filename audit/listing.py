"""The trail as pages and exports read it: who did what, filtered, a page at a time."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet

from audit import chain
from audit.groups import GROUPS
from audit.models import Check, Entry, Link, Loose
from roocloud.lib.spreadsheets import csv_lines
from roocloud.lib.text import clean_label, is_storable

PAGE, EXPORT_BATCH = 50, 500
#: Entries that are counted before an export; beyond, the page says "more than".
MOST_COUNTED = 100_000
#: What is asked for where an entry has no actor.
SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """organization_id: None for the whole deployment. actor: a person's id, or SERVER. target: an
    id. first, last: days in UTC, both included."""

    organization_id: str | None = None
    actor: str = ""
    group: str = ""
    target: str = ""
    first: date | None = None
    last: date | None = None
    search: str = ""


def entries(filters: Filters) -> QuerySet[Entry]:
    """The newest first."""
    wanted = Q()
    if filters.organization_id is not None:
        wanted &= Q(organization_id=filters.organization_id)
    if filters.actor:
        wanted &= Q(actor_id="" if filters.actor == SERVER else filters.actor)
    if filters.group:
        nouns = GROUPS[filters.group][1]
        wanted &= reduce(or_, (Q(action__startswith=f"{noun}.") for noun in nouns))
    if filters.target:
        wanted &= Q(target_id=filters.target)
    if filters.first:
        wanted &= Q(at__gte=_midnight(filters.first))
    if filters.last:
        wanted &= Q(at__lt=_midnight(filters.last) + timedelta(days=1))
    if text := filters.search:
        exact = Q(actor_id=text) | Q(target_id=text) | Q(request_id=text) | Q(pk=text)
        wanted &= exact | Q(action__icontains=text) | Q(note__icontains=text)
    return Entry.objects.filter(wanted).order_by("-at", "-pk")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def count(rows: QuerySet[Entry]) -> int:
    """How many there are; MOST_COUNTED and one for more than that."""
    return rows.order_by()[: MOST_COUNTED + 1].count()


@dataclass(frozen=True, slots=True)
class Change:
    """A field before and after, as JSON; empty where there was none."""

    name: str
    before: str
    after: str

    @property
    def text(self) -> str:
        """In a few words."""
        before, after = clean_label(self.before, 40), clean_label(self.after, 40)
        if self.before and self.after:
            return f"{self.name}: {before} → {after}"
        return f"{self.name}: {after or f'no longer {before}'}"


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as a page shows it. link: None until it is linked."""

    entry: Entry
    link: Link | None

    @property
    def changes(self) -> list[Change]:
        before, after = self.entry.before or {}, self.entry.after or {}
        return [Change(name, _json(before, name), _json(after, name)) for name in before | after]

    @property
    def summary(self) -> str:
        """What changed, in a line."""
        told = [change.text for change in self.changes[:3]]
        return " · ".join([*told, "…"] if len(self.changes) > len(told) else told)

    @property
    def document(self) -> str:
        """All that is known of it."""
        return json.dumps(as_document(self), indent=2, ensure_ascii=False)


def _json(facts: Mapping[str, Any], name: str) -> str:
    if name not in facts:
        return ""
    value = facts[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def page(rows: QuerySet[Entry], *, before: str, size: int = PAGE) -> tuple[list[Row], str]:
    """A page of entries that come after the one that ``before`` names, and the name to go on with;
    empty at the end. A name that makes no sense begins anew. Two queries."""
    at, entry_id = _read_name(before)
    if at is not None:
        rows = rows.filter(Q(at__lt=at) | Q(pk__lt=entry_id), at__lte=at)
    found = list(rows[: size + 1])
    following = ""
    if len(found) > size:
        found = found[:size]
        following = f"{found[-1].at.isoformat()}~{found[-1].pk}"
    links = chain.places(entry.pk for entry in found)
    return [Row(entry, links.get(entry.pk)) for entry in found], following


def _read_name(name: str) -> tuple[datetime | None, str]:
    instant, _, entry_id = name.partition("~")
    try:
        at = datetime.fromisoformat(instant).astimezone(UTC)
    except (ValueError, OverflowError):
        return None, ""
    return (at, entry_id) if is_storable(entry_id) else (None, "")


# --- Exports ----------------------------------------------------------------------------------

COLUMNS = (
    "at", "id", "action", "actor_id", "actor_kind", "session_id", "network", "request_id",
    "organization_id", "target_kind", "target_id", "before", "after", "note", "sequence", "digest",
)  # fmt: skip


def as_document(row: Row) -> dict[str, Any]:
    """For JSON. sequence, digest: its place in the chain, null until it is linked."""
    facts = {name: getattr(row.entry, name) for name in COLUMNS[:-2]}
    facts["at"] = row.entry.at.astimezone(UTC).isoformat()
    return {
        **facts,
        "sequence": row.link.sequence if row.link else None,
        "digest": row.link.digest if row.link else None,
    }


def _jsonl(rows: Iterable[Row]) -> str:
    return "".join(f"{json.dumps(as_document(row), ensure_ascii=False)}\n" for row in rows)


def _csv(rows: Iterable[Row]) -> str:
    lines = []
    for row in rows:
        facts = as_document(row)
        for name in ("before", "after"):
            facts[name] = "" if facts[name] is None else json.dumps(facts[name], ensure_ascii=False)
        lines.append([facts[name] for name in COLUMNS])
    return csv_lines(lines)


@dataclass(frozen=True, slots=True)
class Form:
    """A form of exports. opening: what comes before the rows."""

    content_type: str
    opening: str
    lines: Callable[[Iterable[Row]], str]


FORMS = {
    "csv": Form("text/csv; charset=utf-8", csv_lines([COLUMNS]), _csv),
    "jsonl": Form("application/x-ndjson; charset=utf-8", "", _jsonl),
}


def export(filters: Filters, form: Form, *, before: str) -> tuple[str, str]:
    """Lines of the next batch, and the name to go on with; empty at the end."""
    found, following = page(entries(filters), before=before, size=EXPORT_BATCH)
    return form.lines(found), following


# --- The chain --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proof:
    """last: the newest look through the chain, None before the first. loose: entries that are not
    linked yet."""

    last: Check | None
    loose: int


def proof() -> Proof:
    """What the foot of a page says of the chain."""
    return Proof(Check.objects.order_by("-at", "-pk").first(), Loose.objects.count())


def actor_ids(rows: Sequence[Row]) -> set[str]:
    """Of the people on a page."""
    return {row.entry.actor_id for row in rows} - {""}
