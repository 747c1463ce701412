"""Forms of the pages of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict

from tasks_sharing import guard
from tasks_sharing.listing import Filters
from tasks_sharing.models import Task


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
    least = forms.DecimalField(label="Cost from, USD", min_value=0, max_digits=12)
    most = forms.DecimalField(label="Cost to, USD", min_value=0, max_digits=12)

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
