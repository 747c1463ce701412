"""What follows when allauth changed a credential (B7)."""

from typing import Any

from allauth.account import signals as account_signals
from allauth.mfa import signals as mfa_signals
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from accounts import actions
from accounts.models import User


def connect() -> None:
    """Called once, while apps are loaded."""
    account_signals.password_reset.connect(_end_everything)
    for changed in (
        account_signals.password_changed,
        account_signals.password_set,
        account_signals.email_changed,
        mfa_signals.authenticator_added,
        mfa_signals.authenticator_removed,
    ):
        changed.connect(_offer_to_end)


def _end_everything(*, request: HttpRequest, user: User, **kwargs: Any) -> None:
    actions.recover_account(user=user, session_key=request.session.session_key, at=timezone.now())


def _offer_to_end(
    *, request: HttpRequest, authenticator: Authenticator | None = None, **kwargs: Any
) -> None:
    # Recovery codes come with the first authenticator: one offer is enough.
    is_offered = authenticator and authenticator.type == Authenticator.Type.RECOVERY_CODES
    if request.user.is_authenticated and not is_offered:
        offer = format_html(
            "Editors, command lines and job tokens stay signed in. If somebody else may use them, "
            '<a href="{}">sign out everywhere else</a>.',
            reverse("end-all-sessions"),
        )
        messages.warning(request, offer)
