"""What follows when allauth changed a credential (B7), and what is noted of it (L4)."""

from typing import Any

from allauth.account import signals as account_signals
from allauth.account.authentication import get_authentication_records
from allauth.mfa import signals as mfa_signals
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from accounts import actions, second_factors, traces
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
    account_signals.user_logged_in.connect(_note_sign_in)
    for changed in (account_signals.password_changed, account_signals.password_set):
        changed.connect(_note_password)
    account_signals.email_changed.connect(_note_email)
    mfa_signals.authenticator_added.connect(_note_added)
    mfa_signals.authenticator_removed.connect(_note_removed)


def _note_sign_in(*, request: HttpRequest, user: User, **kwargs: Any) -> None:
    traces.signed_in(user=user, ways=get_authentication_records(request, user), at=timezone.now())


def _note_password(*, user: User, **kwargs: Any) -> None:
    traces.password_changed(user=user, at=timezone.now())


def _note_email(*, user: User, **kwargs: Any) -> None:
    traces.email_changed(user=user, at=timezone.now())


def _note_added(
    *, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any
) -> None:
    second_factors.was_added(request, authenticator)
    traces.second_factor_changed(
        "second_factor.added", user=user, authenticator=authenticator, at=timezone.now()
    )


def _note_removed(*, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    traces.second_factor_changed(
        "second_factor.removed", user=user, authenticator=authenticator, at=timezone.now()
    )


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
