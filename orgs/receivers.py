"""What follows when somebody signed in, or proved an address to be theirs."""

from typing import TYPE_CHECKING, Any

from allauth.account import signals
from allauth.account.models import EmailAddress
from django.utils import timezone

from orgs import actions

if TYPE_CHECKING:
    from accounts.models import User


def connect() -> None:
    """Called once, while apps are loaded."""
    signals.user_logged_in.connect(_joins)
    signals.email_confirmed.connect(_confirmed)


def _confirmed(*, email_address: EmailAddress, **_signal: Any) -> None:
    _join(email_address.user)


def _joins(*, user: "User", sociallogin: Any = None, **_signal: Any) -> None:
    if sociallogin is not None:
        actions.join_by_sign_on(user=user, provider=sociallogin.account.provider, at=timezone.now())
    _join(user)


def _join(user: "User") -> None:
    addresses = EmailAddress.objects.filter(user=user, verified=True)
    verified = [email.lower() for email in addresses.values_list("email", flat=True)]
    if verified:
        actions.join_by_domain(user=user, verified=verified, at=timezone.now())
