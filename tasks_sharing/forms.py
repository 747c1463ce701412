"""Forms of the pages of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.http import QueryDict
from msgspec import UNSET

from tasks_sharing import guard
from tasks_sharing.listing import Filters
from tasks_sharing.models import Task

if TYPE_CHECKING:
    from orgs.documents import CloudSettings


@dataclass(frozen=True, slots=True)
class Active:
    """A filter in force: what it is called, what it says, and a query string without it."""

    label: str
    value: str
    without: str


class TaskFilterForm(forms.Form):
    """Nothing in it is required, and what makes no sense filters nothing and is named."""

    member = forms.ChoiceField()
    repository = forms.CharField(max_length=200)
    mode = forms.CharField(max_length=100)
    model = forms.CharField(max_length=200)
    outcome = forms.ChoiceField(choices=[("", "Every outcome"), *Task.Status.choices])
    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}))
    least = forms.DecimalField(label="Reported cost from, USD", min_value=0, max_digits=12)
    most = forms.DecimalField(label="Reported cost to, USD", min_value=0, max_digits=12)

    def __init__(
        self,
        data: QueryDict,
        *,
        members: Sequence[tuple[str, str]],
    ) -> None:
        """members: (id, name) of those whose tasks may be asked for; empty for a list of one's
        own."""
        super().__init__({name: data.get(name, "") for name in self.base_fields})
        self._asked = data
        self.suggestions: dict[str, list[str]] = {}
        for field in self.fields.values():
            field.required = False
        if members:
            self.fields["member"].choices = [("", "Everybody"), *members]  # type: ignore[attr-defined]
        else:
            del self.fields["member"]

    def suggest(self, tasks: Sequence[Task]) -> None:
        """Offer what the tasks of the page have."""
        facts = {"repository": "repository_name", "mode": "mode", "model": "model"}
        for name, fact in facts.items():
            self.suggestions[f"{name}-known"] = sorted({getattr(t, fact) for t in tasks} - {""})
            self.fields[name].widget.attrs |= {"list": f"{name}-known", "autocomplete": "off"}

    @property
    def text(self) -> str:
        """Of the search field beside the form."""
        return self._asked.get("q", "").replace("\x00", "").strip()[:200]

    def filters(self) -> Filters:
        """What was asked for, as far as it makes sense."""
        self.is_valid()
        given: dict[str, Any] = {k: v for k, v in self.cleaned_data.items() if v not in ("", None)}
        return Filters(text=self.text, **given)

    @property
    def active(self) -> list[Active]:
        """The filters in force, for the reader to see and to remove."""
        found = [self._active("q", "Search", self.text)] if self.text else []
        for name, value in self.cleaned_data.items():
            if value not in ("", None):
                choices = dict(getattr(self.fields[name], "choices", ()))
                label = self.fields[name].label or name.capitalize()
                found.append(self._active(name, str(label), str(choices.get(value, value))))
        return found

    def _active(self, name: str, label: str, value: str) -> Active:
        rest = self._asked.copy()
        for gone in (name, "after", "task", "chosen"):
            rest.pop(gone, None)
        return Active(label, value, rest.urlencode())


#: How long a link may be chosen to live: hours, and how people call them.
_LIFETIMES = [
    (1, "In an hour"), (24, "In a day"), (7 * 24, "In a week"), (30 * 24, "In 30 days"),
    (90 * 24, "In 90 days"), (365 * 24, "In a year"),
]  # fmt: skip


class LifetimeForm(forms.Form):
    """When a link ends. cloud: the policy, which offers nothing beyond itself."""

    hours = forms.ChoiceField(label="Ends", required=False)

    def __init__(self, *args: Any, cloud: "CloudSettings", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        days = cloud.task_share_expiration_days
        longest = "Never"
        offered = _LIFETIMES
        if days is not UNSET:
            longest = f"In {days} day{'' if days == 1 else 's'}, the most that is allowed"
            offered = [choice for choice in _LIFETIMES if choice[0] < days * 24]
        field = self.fields["hours"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type checker
        field.choices = [("", longest), *((str(hours), label) for hours, label in offered)]

    @property
    def lifetime(self) -> timedelta | None:
        """Of the valid form; None for as long as the policy lets it."""
        hours = self.cleaned_data["hours"]
        return timedelta(hours=int(hours)) if hours else None


class MaskTextForm(forms.Form):
    text = forms.CharField(
        label="Text",
        max_length=guard.MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Masked wherever it stands in the conversation. Or select it below.",
    )


class MaskFileForm(forms.Form):
    file = forms.CharField(
        label="File",
        max_length=4096,
        widget=forms.TextInput(attrs={"list": "mask-files", "autocomplete": "off"}),
        help_text="Its path. Masks what was read and changed of it; output of commands stays.",
    )
