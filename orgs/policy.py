"""Who may, within an organization: pure functions of an actor."""

from dataclasses import dataclass

from accounts.actors import Actor
from orgs.models import Organization, Role
from roocloud.lib.refusals import Forbidden

ADMIN_ROLES = frozenset({Role.OWNER, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class RemotePolicy:
    """What an organization allows with its members' editors. Only their own people control them.

    is_on: their own people's browsers may. admins_watch: owners and admins may look, no more.
    """

    is_on: bool
    admins_watch: bool


def is_member(actor: Actor) -> bool:
    """In an organization, with any role."""
    return actor.organization_id is not None and actor.role is not None


def is_admin(actor: Actor) -> bool:
    """May manage members and settings of the organization that the actor is in."""
    return actor.organization_id is not None and actor.role in ADMIN_ROLES


def is_owner(actor: Actor) -> bool:
    return actor.organization_id is not None and actor.role == Role.OWNER


def may_spend(actor: Actor) -> bool:
    """May use models on the credit of the context; read-only members may not."""
    return actor.organization_id is None or actor.role in (Role.OWNER, Role.ADMIN, Role.MEMBER)


def require_admin(by: Actor, organization: Organization) -> None:
    """Raises Forbidden for everybody but an owner or an admin who acts in the organization."""
    if by.organization_id != organization.pk or not is_admin(by):
        raise Forbidden("This needs an owner or an admin of the organization")
