"""The invitation that a browser came with, so that it may sign up (ROOCLOUD_SIGNUP=invitation).

Organizations live in a room above, which notes the invitation in the web session after it checked
the link, and says later whether it still holds.
"""

from dataclasses import dataclass
from typing import Protocol

from django.http import HttpRequest

_KEY = "invitation_digest"


@dataclass(frozen=True, slots=True)
class Offer:
    """Whom an invitation is for: an address, or any at a domain; with neither, anybody."""

    email: str
    domain: str

    def is_for(self, email: str) -> bool:
        email = email.lower()
        if self.email:
            return email == self.email
        return not self.domain or email.endswith(f"@{self.domain}")


class InvitationSource(Protocol):
    def offer(self, *, token_hash: str) -> Offer | None:
        """Of an invitation that can be accepted now."""


_sources: list[InvitationSource] = []


def register(source: InvitationSource) -> None:
    """Name the source of invitations; called once, while apps are loaded."""
    _sources[:] = [source]


def admit(request: HttpRequest, *, token_hash: str) -> None:
    """Note that this browser opened the link of a live invitation."""
    request.session[_KEY] = token_hash


def pending(request: HttpRequest) -> Offer | None:
    """Whom this browser's invitation is for, as long as it is live."""
    token_hash: str | None = request.session.get(_KEY)
    return _sources[0].offer(token_hash=token_hash) if token_hash else None
