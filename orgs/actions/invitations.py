"""Invitations: links that offer a role to one address."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction

from accounts.actors import Actor
from audit import actions as audit
from orgs import policy
from orgs.actions.members import checked_role, put_member
from orgs.models import Invitation, Membership, Organization, Role
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound

if TYPE_CHECKING:
    from accounts.models import User

INVITATION_LIFETIME = timedelta(days=14)


def invite(
    *, organization: Organization, email: str, role: str, by: Actor, at: datetime
) -> tuple[Invitation, str]:
    """An invitation for an address, and its link's secret. Raises InvalidInput, Forbidden."""
    policy.require_admin(by, organization)
    role = checked_role(role)
    if role == Role.OWNER and not policy.is_owner(by):
        raise Forbidden("Only an owner invites owners")
    email = email.strip().lower()
    if "@" not in email or len(email) > 254:
        raise InvalidInput("is not an e-mail address", field="email")
    secret = new_secret("inv")
    with transaction.atomic():
        Invitation.unscoped.filter(
            organization=organization, email=email, accepted_at=None, revoked_at=None
        ).update(revoked_at=at)
        invitation = Invitation.unscoped.create(
            organization=organization,
            email=email,
            role=role,
            token_hash=digest(secret),
            made_by_id=by.user_id,
            created_at=at,
            expires_at=at + INVITATION_LIFETIME,
        )
        audit.record(
            action="invitation.created",
            actor=by,
            organization_id=organization.pk,
            target_kind="invitation",
            target_id=invitation.pk,
            after={"email": email, "role": role},
            at=at,
        )
    return invitation, secret


def revoke_invitation(*, invitation: Invitation, by: Actor, at: datetime) -> None:
    """Make the link worthless. Raises Forbidden."""
    policy.require_admin(by, invitation.organization)
    with transaction.atomic():
        if Invitation.unscoped.live(at).filter(pk=invitation.pk).update(revoked_at=at):
            audit.record(
                action="invitation.revoked",
                actor=by,
                organization_id=invitation.organization_id,
                target_kind="invitation",
                target_id=invitation.pk,
                at=at,
            )


def find_invitation(*, secret: str, at: datetime) -> Invitation:
    """The live invitation of a link. Raises NotFound."""
    invitation = (
        Invitation.unscoped.live(at)
        .filter(token_hash=digest(secret))
        .select_related("organization")
        .first()
    )
    if invitation is None:
        raise NotFound("This invitation was used, revoked, or is too old. Ask for a new one.")
    return invitation


def accept_invitation(*, secret: str, user: "User", verified: set[str], at: datetime) -> Membership:
    """Join, once. verified: the addresses, in lower case, that the person proved to own (B7).

    An invitation grants no more than its maker could grant now (A4). Raises NotFound, Forbidden.
    """
    with transaction.atomic():
        invitation = find_invitation(secret=secret, at=at)
        if invitation.email not in verified:
            raise Forbidden(
                f"This invitation is for {invitation.email}. Sign in with that address, or verify "
                "it in your account first."
            )
        maker = Membership.unscoped.filter(
            organization=invitation.organization, user_id=invitation.made_by_id
        ).first()
        if maker is None or maker.role not in (Role.OWNER, Role.ADMIN):
            raise NotFound("Whoever made this invitation may not invite any more")
        if invitation.role == Role.OWNER and maker.role != Role.OWNER:
            raise NotFound("Whoever made this invitation may not invite owners any more")
        if not Invitation.unscoped.live(at).filter(pk=invitation.pk).update(accepted_at=at):
            raise NotFound("This invitation was used already")
        held = Membership.unscoped.filter(organization=invitation.organization, user=user).first()
        if held is not None:
            return held
        return put_member(
            organization=invitation.organization, user=user, role=invitation.role, by=None, at=at
        )
