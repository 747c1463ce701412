"""Who asks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.http import HttpRequest

from accounts import memberships

if TYPE_CHECKING:
    from accounts.models import User

#: Key of the web session that holds the chosen organization's id; absent means personal.
ORGANIZATION_KEY = "organization_id"


class TokenKind(StrEnum):
    """How somebody is known. The values of the JWT kinds are the wire's (``r.t``)."""

    CLIENT = "client"  # the editor's long-lived token, /v1 only
    SESSION = "auth"  # ten minutes, /api and /proxy
    CLI = "cli"  # ninety days; ``r.t`` is "auth" on the wire
    JOB = "cj"  # for CI and static-token editors
    WEB = "web"  # a browser session
    SHELL = "shell"  # an operator's command


@dataclass(frozen=True, slots=True)
class Actor:
    """A person in a context: personal, or one organization with the role they hold there now."""

    user_id: str
    organization_id: str | None
    role: str | None
    kind: TokenKind
    session_id: str | None = None
    is_staff: bool = False


def web_actor(request: HttpRequest) -> Actor:
    """The actor of a signed-in web request. A chosen organization that the person has left since is
    dropped from the session, and the context is personal again."""
    user: User = request.user  # type: ignore[assignment]  # behind @signed_in
    organization_id: str | None = request.session.get(ORGANIZATION_KEY)
    role = None
    if organization_id is not None:
        role = memberships.role_of(user_id=user.pk, organization_id=organization_id)
        if role is None:
            del request.session[ORGANIZATION_KEY]
            organization_id = None
    return Actor(user.pk, organization_id, role, TokenKind.WEB, is_staff=user.is_staff)


def shell_actor(user: "User", *, organization_id: str | None = None) -> Actor:
    """The actor of an operator's command that acts for ``user``."""
    role = organization_id and memberships.role_of(user_id=user.pk, organization_id=organization_id)
    return Actor(user.pk, organization_id, role or None, TokenKind.SHELL, is_staff=user.is_staff)
