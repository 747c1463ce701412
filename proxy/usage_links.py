"""Where the page of usage leads: the same page with more, less or other filters. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import QueryDict

from proxy.usage_forms import FilterForm

#: What can be shown alone, or left out.
PARTS = ("member", "model", "upstream")
_NAMES = {"member": "Member", "model": "Model", "upstream": "Upstream", "key": "API key",
          "status": "Status", "task": "Task"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that counts, and the page without it."""

    text: str
    without: str


@dataclass(frozen=True, slots=True)
class Links:
    """Of one row of a table: the page with it alone, and without it; empty where there is none."""

    only: str = ""
    without: str = ""


def pairs(given: QueryDict) -> list[tuple[str, str]]:
    """Every field, also those that are there several times."""
    return [(name, str(value)) for name, values in given.lists() for value in values]


def chips(given: QueryDict, form: FilterForm, *, names: Mapping[str, str]) -> list[Chip]:
    """names: of members who are left out."""
    found = []
    for field, label in _NAMES.items():
        if field in form.fields and (value := form.cleaned_data.get(field)):
            choices = dict(getattr(form.fields[field], "choices", ()))
            text = f"{label}: {choices.get(value, value)}"
            found.append(Chip(text, _without(given, field)))
    for part in PARTS:
        found += [
            Chip(f"Not {names.get(value, value)}", _without(given, f"not_{part}", value))
            for value in given.getlist(f"not_{part}")
            if part in form.fields
        ]
    return found


def of_part(given: QueryDict, by: str, value: str) -> Links:
    """by: of a table's rows."""
    if not value:
        return Links()
    if by == "day":
        changed = {"first": value, "last": value, "period": ""}
        return Links(only=_query(given, changed))
    if by == "task":
        return Links(only=_query(given, {"task": value, "by": ""}))
    if by not in PARTS:
        return Links()
    kept = [*pairs(_clean(given)), (f"not_{by}", value)]
    return Links(_query(given, {by: value, "by": ""}), f"?{urlencode(kept)}")


def _clean(given: QueryDict) -> QueryDict:
    """Without the place in the log, which belongs to the filters of before."""
    copy = given.copy()
    copy.pop("before", None)
    return copy


def _query(given: QueryDict, changed: Mapping[str, str]) -> str:
    copy = _clean(given)
    for name, value in changed.items():
        copy.pop(name, None)
        if value:
            copy[name] = value
    return f"?{copy.urlencode()}"


def _without(given: QueryDict, name: str, value: str = "") -> str:
    copy = _clean(given)
    rest: Sequence[str] = [one for one in copy.getlist(name) if value and one != value]
    copy.setlist(name, list(rest))
    return f"?{copy.urlencode()}"
