"""Who asks."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from django.http import HttpRequest

from accounts import memberships, single_sign_on

if TYPE_CHECKING:
    from accounts.models import User

#: Key of the web session that holds the chosen organization's id; empty means personal, and absent
#: that nothing was chosen yet.
ORGANIZATION_KEY = "organization_id"


class TokenKind(StrEnum):
    """How somebody is known. The values of the JWT kinds are the wire's (``r.t``)."""

    CLIENT = "client"  # the editor's long-lived token, /v1 only
    SESSION = "auth"  # ten minutes, /api and /proxy
    CLI = "cli"  # ninety days; ``r.t`` is "auth" on the wire
    JOB = "cj"  # for CI and static-token editors
    API_KEY = "key"  # a member's key for any OpenAI client, /proxy only
    WEB = "web"  # a browser session
    DEVICE = "device"  # a paired phone or companion, /api/devices and the bridge only
    SHELL = "shell"  # an operator's command


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """The API key that somebody asks with. model_ids: what it is limited to; empty: nothing."""

    key_id: str
    name: str
    model_ids: frozenset[str]

    def allows(self, model_id: str) -> bool:
        return not self.model_ids or model_id in self.model_ids


@dataclass(frozen=True, slots=True)
class Actor:
    """A person in a context: personal, or one organization with the role they hold there now.

    key: of an actor whose kind is API_KEY. signed_on: single sign-ons that this sign-in came by.
    """

    user_id: str
    organization_id: str | None
    role: str | None
    kind: TokenKind
    session_id: str | None = None
    is_staff: bool = False
    key: KeyGrant | None = None
    signed_on: frozenset[str] = frozenset()


def web_actor(request: HttpRequest) -> Actor:
    """The actor of a signed-in web request, in the context that they chose; until they choose, and
    after they left the chosen organization, in their first one, else in the personal one."""
    user: User = request.user  # type: ignore[assignment]  # behind @signed_in
    chosen: str | None = request.session.get(ORGANIZATION_KEY)
    signed_on = single_sign_on.proofs(request)
    personal = Actor(
        user.pk, None, None, TokenKind.WEB, is_staff=user.is_staff, signed_on=signed_on
    )
    if chosen == "":
        return personal
    role = chosen and memberships.role_of(
        user_id=user.pk, organization_id=chosen, signed_on=signed_on
    )
    if role:
        return replace(personal, organization_id=chosen, role=role)
    mine = memberships.of(user_id=user.pk)
    asking = [one for one in mine if one.asks_sign_on]
    claims = [(user.pk, one.organization_id, signed_on) for one in asking]
    unproven = memberships.unproven(claims) if claims else set()
    for one in mine:
        if (user.pk, one.organization_id, signed_on) not in unproven:
            return replace(personal, organization_id=one.organization_id, role=one.role)
    return personal


def shell_actor(user: "User", *, organization_id: str | None = None) -> Actor:
    """The actor of an operator's command that acts for ``user``."""
    role = organization_id and memberships.role_of(user_id=user.pk, organization_id=organization_id)
    return Actor(user.pk, organization_id, role or None, TokenKind.SHELL, is_staff=user.is_staff)
