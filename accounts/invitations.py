"""The invitation that a browser came with, so that it may sign up (ROOCLOUD_SIGNUP=invitation).

Organizations live in a room above, which puts the address into the web session after it checked the
link.
"""

from django.http import HttpRequest

_KEY = "invited_email"


def admit(request: HttpRequest, *, email: str) -> None:
    """Note that this browser opened a live invitation for ``email``."""
    request.session[_KEY] = email


def pending(request: HttpRequest) -> str | None:
    """The invited address, if any."""
    return request.session.get(_KEY)
