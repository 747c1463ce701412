"""What of the database is about a person: how they get it, and what becomes of it when they leave
(L3). A room declares each of its columns that names a person while apps load; a check finds those
that were forgotten.

Ids of people are random and say nothing of anybody: where a row stays, its id is the pseudonym.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import CharField, FileField, Model

#: Where to go on; None at the end.
Cursor = Any
#: JSON texts of some of a person's things from a cursor on (None: the beginning), and the next one.
Page = Callable[[str, Cursor], tuple[list[str], Cursor]]

_ROWS = 200
#: Columns of these names say who somebody is, without being an id.
_NAMES = frozenset({"email", "subject"})
#: Ids of something else than a person.
_THINGS = frozenset(
    {
        "api_key_id", "client_id", "completion_id", "device_id", "entry_id", "instance_id",
        "item_id", "model_id", "organization_id", "parent_task_id", "payment_id", "provider_id",
        "request_id", "session_id", "target_id", "task_id", "tenant_id",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Holding:
    """A column that names a person.

    page: gives the person those of the rows that are theirs; None if they are somebody else's.
    erase: what becomes of the rows of a person who leaves; it may be called again. reason: why a
    row is not given, or stays.
    """

    model: type[Model]
    field: str
    page: Page | None
    erase: Callable[[str], None] | None
    reason: str = ""

    @property
    def name(self) -> str:
        return self.model._meta.label


_holdings: list[Holding] = []
_obstacles: list[Callable[[str], str | None]] = []


def holdings() -> Sequence[Holding]:
    return tuple(_holdings)


def declare(holding: Holding) -> None:
    _holdings.append(holding)


def owned(model: type[Model], field: str, *fields: str, reason: str = "") -> None:
    """The person's own: they get ``fields`` of the rows, which are deleted when they leave. Without
    fields, reason: why they do not get any."""
    page = rows_of(model, field, fields) if fields else None
    declare(Holding(model, field, page, deletion(model, field), reason))


def kept(
    model: type[Model],
    field: str,
    *fields: str,
    reason: str,
    blank: Mapping[str, Any] | None = None,
) -> None:
    """The person's own, which stays under the pseudonym. blank: fields that are emptied."""
    erase = emptying(model, field, blank) if blank else None
    declare(Holding(model, field, rows_of(model, field, fields), erase, reason))


def elsewhere(model: type[Model], field: str, *, reason: str) -> None:
    """It names who had to do with something that is not theirs, or goes with another row."""
    declare(Holding(model, field, None, None, reason))


def undeclared(models: Iterable[type[Model]]) -> list[tuple[str, str]]:
    """Columns that name a person, or may for all that is known here, and that no room declared:
    (model, field)."""
    declared = {(holding.name, holding.field) for holding in _holdings}
    return sorted(set(_naming(models)) - declared)


def _naming(models: Iterable[type[Model]]) -> Iterator[tuple[str, str]]:
    person = get_user_model()
    for model in models:
        for field in model._meta.concrete_fields:
            is_id = isinstance(field, CharField) and field.name.endswith("_id")
            if (
                field.related_model is person
                or field.name in _NAMES
                or (is_id and field.name not in _THINGS)
            ):
                yield model._meta.label, field.name


def obstacle(find: Callable[[str], str | None]) -> None:
    """Lets a room say in a sentence why a person cannot leave yet."""
    _obstacles.append(find)


def obstacles(user_id: str) -> list[str]:
    """What a person has to do before they can leave."""
    return [said for find in _obstacles if (said := find(user_id))]


def lines(user_id: str, holding: Holding, cursor: Cursor) -> tuple[list[str], Cursor]:
    """Some of what a holding gives the person, a line of JSON for each row."""
    if holding.page is None:
        return [], None
    texts, following = holding.page(user_id, cursor)
    return [f'{{"kind": "{holding.name}", "data": {text}}}\n' for text in texts], following


def rows_of(model: type[Model], field: str, fields: Sequence[str]) -> Page:
    """Pages of those fields of the rows whose ``field`` (a look-up) is the person."""

    def page(user_id: str, after: Cursor) -> tuple[list[str], Cursor]:
        rows = model._base_manager.filter(**{field: user_id}).order_by("pk")
        if after is not None:
            rows = rows.filter(pk__gt=after)
        found = list(rows.values("pk", *fields)[:_ROWS])
        texts = [_text({name: row[name] for name in fields}) for row in found]
        return texts, found[-1]["pk"] if len(found) == _ROWS else None

    return page


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, cls=DjangoJSONEncoder)


def deletion(model: type[Model], field: str) -> Callable[[str], None]:
    """Deletes the rows whose ``field`` is the person, with their files."""
    files = [one.name for one in model._meta.concrete_fields if isinstance(one, FileField)]

    def erase(user_id: str) -> None:
        for row in _rows(model, field, user_id):
            for name in files:
                if stored := getattr(row, name):
                    stored.delete(save=False)
            row.delete()

    return erase


def _rows(model: type[Model], field: str, user_id: str) -> Iterator[Model]:
    while rows := list(model._base_manager.filter(**{field: user_id}).order_by("pk")[:_ROWS]):
        yield from rows


def emptying(model: type[Model], field: str, blank: Mapping[str, Any]) -> Callable[[str], None]:
    def erase(user_id: str) -> None:
        model._base_manager.filter(**{field: user_id}).update(**blank)

    return erase
