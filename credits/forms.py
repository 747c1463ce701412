"""Forms of the budget pages."""

from collections.abc import Sequence
from typing import Any

from django import forms

from credits.models import Budget
from roocloud.lib.money import usd_to_nanos
from roocloud.lib.refusals import Refusal

Choices = Sequence[tuple[str, str]]


class LimitForm(forms.Form):
    limit = forms.CharField(
        label="Limit in USD",
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text="Such as 25 or 2.50. Zero stops everything that costs.",
    )

    def clean_limit(self) -> int:
        """Nano-dollars."""
        try:
            nanos = usd_to_nanos(self.cleaned_data["limit"])
        except Refusal as refusal:
            raise forms.ValidationError(refusal.message) from None
        if nanos < 0:
            raise forms.ValidationError("Must be zero or more.")
        return nanos


class BudgetForm(LimitForm):
    """what: scope and subject as one word, ``member:user_…``; without a subject each of them."""

    field_order = ("what", "period", "limit")
    what = forms.ChoiceField(label="What it limits")
    period = forms.ChoiceField(
        label="Period",
        choices=Budget.Period.choices,
        initial=Budget.Period.MONTH,
        help_text="Periods begin at midnight UTC; weeks on Monday.",
    )

    def __init__(self, *args: Any, members: Choices, models: Choices, **kwargs: Any) -> None:
        """members: empty outside of an organization."""
        super().__init__(*args, **kwargs)
        choices: list[Any] = [(Budget.Scope.ACCOUNT.value, "Everything")]
        if members:
            choices.append(("member:", "Each member, apart"))
        choices.append(("model:", "Each model, apart"))
        if members:
            choices.append(("A member", [(f"member:{pk}", name) for pk, name in members]))
        if models:
            choices.append(("A model", [(f"model:{pk}", name) for pk, name in models]))
        self.fields["what"].choices = choices  # type: ignore[attr-defined]

    def clean_what(self) -> tuple[str, str]:
        """Scope and subject."""
        scope, _, subject = self.cleaned_data["what"].partition(":")
        return scope, subject
