"""What only somebody may do who has just shown who they are."""

from datetime import datetime, timedelta
from urllib.parse import urlencode

from allauth.account import app_settings
from allauth.account.adapter import get_adapter
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts import browsers
from roocloud.lib.refusals import Forbidden


def is_fresh(request: HttpRequest, *, at: datetime) -> bool:
    """Whether the person of this browser signed in, or showed again who they are, within the last
    minutes: with their second factor, if they have one."""
    sign_in = _sign_in(request, at=at)
    age = timedelta(seconds=app_settings.REAUTHENTICATION_TIMEOUT)
    return sign_in is not None and sign_in.is_younger_than(age, at=at)


def ask_again(request: HttpRequest, *, at: datetime) -> HttpResponse:
    """Leads to the page where they show it, and back to this one.

    Raises Forbidden for who can only do so by a new sign-in, with another provider.
    """
    sign_in = _sign_in(request, at=at)
    has_factor = sign_in is not None and sign_in.has_second_factor
    ways = get_adapter().get_reauthentication_methods(request.user)
    urls = [way["url"] for way in ways if way["id"].startswith("mfa") or not has_factor]
    if not urls:
        raise Forbidden("Sign out and in again, and come back within five minutes")
    return HttpResponseRedirect(f"{urls[0]}?{urlencode({'next': request.get_full_path()})}")


def _sign_in(request: HttpRequest, *, at: datetime) -> browsers.SignIn | None:
    [found] = browsers.sign_ins([request.session.session_key or ""], at=at)
    return found
