"""Forms of the account pages."""

from collections.abc import Sequence
from typing import Any

from django import forms

from accounts.memberships import Membership
from accounts.models import User


class NameForm(forms.ModelForm[User]):
    class Meta:
        model = User
        fields = ("first_name", "last_name")


class JobTokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="To know it by later, such as “nightly CI”.")
    organization = forms.ChoiceField(
        required=False, help_text="Whose settings, models and credit it uses."
    )
    days = forms.ChoiceField(
        label="Ends after",
        choices=[("1", "1 day"), ("30", "30 days"), ("90", "90 days"), ("365", "a year")],
        initial="30",
    )

    def __init__(self, *args: Any, organizations: Sequence[Membership], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(m.organization_id, m.organization_name) for m in organizations]
        field = self.fields["organization"]
        field.choices = [*choices, ("", "Personal account")]  # type: ignore[attr-defined]
