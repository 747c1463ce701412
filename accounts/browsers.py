"""Who a browser is, for code outside Django's request handling."""

from http.cookies import CookieError
from importlib import import_module

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest, parse_cookie


def person_of(cookies: str) -> str | None:
    """The id of whoever is signed in by a ``Cookie`` header now, as pages decide it: the session
    stands, its password is the present one, and the person is active. None for anybody else."""
    try:
        key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    if not key or "\0" in key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = auth.get_user(request)
    return str(user.pk) if user.is_authenticated else None
