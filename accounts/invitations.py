"""The invitation that a browser came with, so that it may sign up (ROOCLOUD_SIGNUP=invitation).

Organizations live in a room above, which notes the invitation in the web session after it checked
the link, and says later whether it still holds.
"""

from typing import Protocol

from django.http import HttpRequest

_KEY = "invitation_digest"


class InvitationSource(Protocol):
    def invited_email(self, *, token_hash: str) -> str | None:
        """The address of an invitation that can be accepted now."""


_sources: list[InvitationSource] = []


def register(source: InvitationSource) -> None:
    """Name the source of invitations; called once, while apps are loaded."""
    _sources[:] = [source]


def admit(request: HttpRequest, *, token_hash: str) -> None:
    """Note that this browser opened the link of a live invitation."""
    request.session[_KEY] = token_hash


def pending(request: HttpRequest) -> str | None:
    """The invited address in lower case, as long as the invitation is live."""
    token_hash: str | None = request.session.get(_KEY)
    return _sources[0].invited_email(token_hash=token_hash) if token_hash else None
