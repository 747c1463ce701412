"""Choosing a context on a sign-in page: personal, or one of the person's organizations."""

from dataclasses import replace

from accounts import memberships
from accounts.actors import Actor
from roocloud.lib.refusals import InvalidInput


def in_context(actor: Actor, organization_id: str) -> Actor:
    """The same person in the chosen context; empty means personal.

    Raises InvalidInput (``organization``) for an organization that is not theirs, whether or not it
    exists.
    """
    if not organization_id:
        return replace(actor, organization_id=None, role=None)
    for membership in memberships.of(user_id=actor.user_id):
        if membership.organization_id == organization_id:
            return replace(actor, organization_id=organization_id, role=membership.role)
    raise InvalidInput("You are not a member of that organization", field="organization")
