"""Whether a browser's person has shown a second factor."""

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import (
    get_authentication_records,
    record_authentication,
)
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import User

_KINDS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def is_proven(request: HttpRequest, user: User) -> bool:
    """Whether the person has one, and showed it in this web session. One query."""
    records = get_authentication_records(request, user)
    return any(record["method"] == "mfa" for record in records) and has_one(user)


def has_one(user: User) -> bool:
    """Recovery codes alone are none."""
    return bool(is_mfa_enabled(user, _KINDS))


def was_added(request: HttpRequest, authenticator: Authenticator) -> None:
    """Who has just added one has shown that it is theirs."""
    if authenticator.type in _KINDS:
        record_authentication(
            request, authenticator.user, "mfa", id=authenticator.pk, type=authenticator.type
        )


def page(user: User) -> str:
    """The address of the page where the person shows their second factor, or adds one."""
    for way in get_adapter().get_reauthentication_methods(user):
        if way["id"].startswith("mfa_reauthenticate"):
            return str(way["url"])
    return reverse("mfa_index")
