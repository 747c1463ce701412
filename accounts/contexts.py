"""Choosing a context on a sign-in page: personal, or one of the person's organizations."""

from dataclasses import replace

from accounts import memberships
from accounts.actors import Actor
from roocloud.lib.refusals import Forbidden, InvalidInput


class SignOnRequired(Forbidden):
    code = "sign_on_required"


def in_context(actor: Actor, organization_id: str) -> Actor:
    """The same person in the chosen context; empty means personal.

    Raises InvalidInput (``organization``) for an organization that is not theirs, whether or not it
    exists, and SignOnRequired where it asks for its single sign-on.
    """
    if not organization_id:
        return replace(actor, organization_id=None, role=None)
    for membership in memberships.of(user_id=actor.user_id):
        if membership.organization_id == organization_id:
            if membership.asks_sign_on:
                check_sign_on(actor, organization_id, membership.organization_name)
            return replace(actor, organization_id=organization_id, role=membership.role)
    raise InvalidInput("You are not a member of that organization", field="organization")


def check_sign_on(actor: Actor, organization_id: str, name: str) -> None:
    """Raises SignOnRequired for somebody whom the organization asks for its single sign-on, and who
    signed in to this browser otherwise."""
    if memberships.unproven([(actor.user_id, organization_id, actor.signed_on)]):
        raise SignOnRequired(
            f"{name} asks for its single sign-on. Open the sign-in page, follow “Use it”, and come "
            "back here."
        )
