"""Forms of the pages of money."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from django import forms

from credits.ledger import Filters, Show
from credits.models import Budget
from roocloud.lib.ids import new_id
from roocloud.lib.money import usd_to_nanos
from roocloud.lib.refusals import Refusal

Choices = Sequence[tuple[str, str]]


class UsdField(forms.CharField):
    """An amount in USD, cleaned to nano-dollars; zero if it may be empty and is. least_nanos: the
    lowest that is taken."""

    def __init__(self, *, least_nanos: int = 1, **kwargs: Any) -> None:
        self._least_nanos = least_nanos
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(max_length=20, widget=widget, **kwargs)

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        if not text:
            return 0
        try:
            nanos = usd_to_nanos(text)
        except Refusal as refusal:
            raise forms.ValidationError(refusal.message) from None
        if nanos < self._least_nanos:
            zero = "zero or more" if self._least_nanos == 0 else "more than zero"
            raise forms.ValidationError(f"Must be {zero}.")
        return nanos


class LimitForm(forms.Form):
    limit = UsdField(
        label="Limit in USD",
        least_nanos=0,
        help_text="Such as 25 or 2.50. Zero stops everything that costs.",
    )


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


class AskForm(forms.Form):
    amount = UsdField(label="Amount in USD", help_text="Such as 25.")
    reason = forms.CharField(
        label="What for",
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Those who decide read it, and it stays with the request.",
    )
    #: One for each page: sent twice it asks once (C6).
    key = forms.CharField(max_length=60, initial=partial(new_id, "ask"), widget=forms.HiddenInput)


class PayForm(forms.Form):
    amount = UsdField(label="Amount in USD", help_text="From 1 to 10,000, such as 25 or 12.50.")
    #: One for each page: sent twice it leads to the same payment (C6).
    key = forms.CharField(max_length=60, initial=partial(new_id, "pay"), widget=forms.HiddenInput)


class AnswerForm(forms.Form):
    answer = forms.CharField(
        label="Why",
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Who asked gets it by mail.",
    )


class DecideForm(forms.Form):
    """The answer of who may grant."""

    amount = UsdField(label="Amount in USD", required=False, help_text="Of a grant.")
    answer = forms.CharField(
        label="Answer", max_length=300, required=False, help_text="Who asked gets it by mail."
    )


class LedgerForm(forms.Form):
    """Which lines of the ledger. Nothing in it is required."""

    show = forms.ChoiceField(
        label="Show",
        required=False,
        choices=[
            (Show.ALL.value, "Everything"),
            (Show.ADDED.value, "What was added or corrected"),
            (Show.CHARGES.value, "Charges"),
        ],
    )
    first = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    last = forms.DateField(
        label="To", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )

    def clean_last(self) -> date | None:
        """Before the end of time, where there is no day after it."""
        last: date | None = self.cleaned_data["last"]
        return min(last, datetime.now(UTC).date()) if last else None

    def filters(self) -> Filters:
        """What was asked for; of a form that makes no sense the default."""
        if not self.is_valid():
            return Filters()
        given = self.cleaned_data
        return Filters(Show(given["show"] or Show.ALL), given["first"], given["last"])
