"""The form that filters the log of completions."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django import forms

from proxy.models import Completion
from proxy.spending import Filters


class FilterForm(forms.Form):
    """Nothing in it is required; days that are missing are the default ones."""

    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}))
    member = forms.ChoiceField()
    model = forms.ChoiceField()
    upstream = forms.ChoiceField()
    key = forms.ChoiceField(label="API key")
    status = forms.ChoiceField(choices=[("", "Every status"), *Completion.Status.choices])
    task = forms.CharField(label="Task id", max_length=64)

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        choices: Mapping[str, Sequence[tuple[str, str]]],
        days: tuple[date, date],
        is_team: bool,
    ) -> None:
        """choices: by field, see proxy.spending.choices."""
        first, last = days
        given = {name: data.get(name, "") for name in self.base_fields}
        given["first"] = given["first"] or first.isoformat()
        given["last"] = given["last"] or last.isoformat()
        super().__init__(given)
        self._is_team = is_team
        self._days = days
        for name, found in choices.items():
            every = (("", f"Every {'API key' if name == 'key' else name}"), *found)
            self.fields[name].choices = every  # type: ignore[attr-defined]
        for field in self.fields.values():
            field.required = False
        if not is_team:
            del self.fields["member"]
        if not choices["key"]:
            del self.fields["key"]

    def filters(self) -> Filters:
        """What was asked for; of a form that makes no sense the default."""
        if not self.is_valid():
            return Filters(*self._days, is_team=self._is_team)
        return Filters(is_team=self._is_team, **self.cleaned_data)

    @property
    def is_narrowed(self) -> bool:
        """Whether it asks for less than the days."""
        return any(name not in ("first", "last") for name in self.changed_data)
