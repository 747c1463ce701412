"""Forms of the pages of API keys."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms

from accounts.api_keys import NewKey
from accounts.memberships import Membership
from proxy.keys import Limit
from roocloud.lib.money import usd_to_nanos


class KeyForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="To know it by later, such as “notebook”.")
    note = forms.CharField(
        label="Purpose", max_length=300, required=False, help_text="What it is for. Optional."
    )
    organization = forms.ChoiceField(required=False, help_text="Whose models and credit it uses.")
    models = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple({"class": "options"}),
        help_text="Tick none to allow all that you may use there.",
    )
    limit = forms.CharField(
        label="Budget in USD", max_length=30, required=False, help_text="Empty for no limit."
    )
    period = forms.ChoiceField(
        label="The budget is for",
        choices=[
            ("day", "each day"),
            ("week", "each week"),
            ("month", "each month"),
            ("total", "all time"),
        ],
        initial="month",
    )
    days = forms.ChoiceField(
        label="Ends after",
        choices=[
            ("7", "7 days"),
            ("30", "30 days"),
            ("90", "90 days"),
            ("365", "a year"),
            ("", "never"),
        ],
        required=False,
        initial="90",
    )

    def __init__(
        self,
        *args: Any,
        organizations: Sequence[Membership],
        models: Sequence[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        choices = [(m.organization_id, m.organization_name) for m in organizations]
        places = [*choices, ("", "Personal account")]
        self.fields["organization"].choices = places  # type: ignore[attr-defined]
        self.fields["models"].choices = models  # type: ignore[attr-defined]

    def new_key(self) -> NewKey:
        """What a valid form asks for."""
        given = self.cleaned_data
        return NewKey(
            name=given["name"],
            note=given["note"],
            model_ids=given["models"],
            lifetime=timedelta(days=int(given["days"])) if given["days"] else None,
        )

    def limit_given(self) -> Limit | None:
        """Raises InvalidInput (``limit``)."""
        usd = self.cleaned_data["limit"]
        if not usd:
            return None
        return Limit(usd_to_nanos(usd, field="limit"), self.cleaned_data["period"])


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(
        label="The old secret works for",
        choices=[
            ("0", "no longer: it stops at once"),
            ("1", "1 more hour"),
            ("24", "1 more day"),
            ("168", "7 more days"),
        ],
        initial="24",
    )

    def hours(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["overlap"]))
