"""The form that filters the trail."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from audit.groups import GROUPS
from audit.listing import SERVER, Filters
from roocloud.lib.text import is_storable


class TrailForm(forms.Form):
    """Nothing in it is required."""

    q = forms.CharField(
        label="Search", max_length=128, help_text="An action, a word of the note, or any id."
    )
    who = forms.ChoiceField()
    what = forms.ChoiceField(
        choices=[("", "Everything"), *((key, label) for key, (label, _) in GROUPS.items())]
    )
    object = forms.CharField(label="On", max_length=128, help_text="The id of what was changed.")
    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(
        self, data: Mapping[str, Any], *, people: Sequence[tuple[str, str]] | None
    ) -> None:
        """people: (id, name) of who can be chosen; None for a field that takes any id."""
        super().__init__({name: data.get(name, "") for name in self.base_fields})
        if people is None:
            help_text = f"The id of a person, or {SERVER}."
            self.fields["who"] = forms.CharField(max_length=40, help_text=help_text)
        else:
            every = [("", "Everybody"), (SERVER, "This server"), *people]
            self.fields["who"].choices = every  # type: ignore[attr-defined]
        for field in self.fields.values():
            field.required = False

    def clean(self) -> dict[str, Any]:
        for name, value in list(self.cleaned_data.items()):
            if isinstance(value, str) and not is_storable(value):
                self.add_error(name, "This has characters that no entry has.")
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first and last and last < first:
            self.add_error("last", "This is before the day on which it begins.")
        return self.cleaned_data

    def filters(self, organization_id: str | None) -> Filters:
        """What was asked for; of a form that makes no sense, everything."""
        if not self.is_valid():
            return Filters(organization_id=organization_id)
        given = self.cleaned_data
        return Filters(
            organization_id=organization_id,
            actor=given["who"],
            group=given["what"],
            target=given["object"],
            first=given["first"],
            last=given["last"],
            search=given["q"],
        )
