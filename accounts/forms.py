"""Forms of the account pages."""

from collections.abc import Sequence
from typing import Any

from allauth.core import context
from django import forms
from django.conf import settings
from django.http import HttpRequest

from accounts import invitations
from accounts.memberships import Membership
from accounts.models import User


class SignUpForm(forms.Form):
    """What allauth's sign-up forms, by password and by a provider, have in common."""

    def clean(self) -> dict[str, Any]:
        """Refuses another address than the invited one (B7)."""
        cleaned = super().clean() or self.cleaned_data
        email = cleaned.get("email")
        if settings.ROOCLOUD_SIGNUP == "invitation" and email:
            offer = invitations.pending(context.request)
            if offer is None or not offer.is_for(email):
                self.add_error("email", "This is not the address that was invited.")
        return cleaned

    def signup(self, request: HttpRequest, user: User) -> None:
        """allauth asks for it; there is nothing to add."""


class NameForm(forms.ModelForm[User]):
    class Meta:
        model = User
        fields = ("first_name", "last_name")


class EraseForm(forms.Form):
    email = forms.CharField(
        label="Your e-mail address", max_length=254, help_text="To be sure that you mean it."
    )

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._email = email

    def clean_email(self) -> str:
        typed: str = self.cleaned_data["email"].strip()
        if typed.lower() != self._email.lower():
            raise forms.ValidationError("This is not the address of your account.")
        return typed


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
