"""Who belongs to an organization, and with which role."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction

from accounts.actors import Actor
from accounts.bearer import rights_cache
from audit import actions as audit
from orgs import policy
from orgs.models import Departure, Membership, Organization, Role
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound

if TYPE_CHECKING:
    from accounts.models import User


class LastOwner(Conflict):
    code = "last_owner"


def put_member(
    *, organization: Organization, user: "User", role: str, by: Actor | None, at: datetime
) -> Membership:
    """Make ``user`` a member with ``role``, or give a member that role. None as ``by`` is the
    operator.

    Raises InvalidInput (``role``), Forbidden, LastOwner.
    """
    role = checked_role(role)
    with transaction.atomic():
        members = _lock_members(organization)
        if by is not None:
            policy.require_admin(by, organization)
            if role == Role.OWNER and not policy.is_owner(by):
                raise Forbidden("Only an owner makes owners")
        member = members.get(user.pk)
        if member is None:
            member = Membership.unscoped.create(
                organization=organization, user=user, role=role, created_at=at, updated_at=at
            )
            Departure.unscoped.filter(organization=organization, user=user).delete()
            _audit_member(member, "membership.created", by=by, after={"role": role}, at=at)
            return member
        if member.role == role:
            return member
        _keep_an_owner(members, leaving=member, by=by)
        before, member.role, member.updated_at = member.role, role, at
        member.save(update_fields=["role", "updated_at"])
        _audit_member(
            member,
            "membership.role_changed",
            by=by,
            before={"role": before},
            after={"role": role},
            at=at,
        )
    rights_cache.clear()
    return member


def remove_member(*, organization: Organization, user_id: str, by: Actor, at: datetime) -> None:
    """Take somebody out; a member may take out themselves.

    Raises NotFound, Forbidden, LastOwner.
    """
    with transaction.atomic():
        members = _lock_members(organization)
        member = members.get(user_id)
        if by.organization_id != organization.pk or member is None:
            raise NotFound("There is no such member")
        if by.user_id != user_id:
            policy.require_admin(by, organization)
        _keep_an_owner(members, leaving=member, by=by)
        _audit_member(member, "membership.ended", by=by, before={"role": member.role}, at=at)
        member.delete()
        Departure.unscoped.update_or_create(
            organization=organization, user_id=user_id, defaults={"at": at}
        )
    rights_cache.clear()


def hand_over(*, organization: Organization, to: "User", by: Actor, at: datetime) -> None:
    """Make another member owner in the place of ``by``, who stays as an admin.

    Raises NotFound, Forbidden for everybody but owners.
    """
    if by.organization_id != organization.pk or not policy.is_owner(by):
        raise Forbidden("Only an owner hands an organization over")
    with transaction.atomic():
        members = _lock_members(organization)
        giver = members.get(by.user_id)
        if giver is None or giver.role != Role.OWNER or to.pk not in members or to.pk == by.user_id:
            raise NotFound("There is no such member")
        put_member(organization=organization, user=to, role=Role.OWNER, by=by, at=at)
        put_member(organization=organization, user=giver.user, role=Role.ADMIN, by=by, at=at)


def checked_role(role: str) -> Role:
    """Raises InvalidInput (``role``)."""
    if role not in Role.values:
        raise InvalidInput(f"must be one of {', '.join(Role.values)}", field="role")
    return Role(role)


def _lock_members(organization: Organization) -> dict[str, Membership]:
    # The organization's row is the lock: who is its last owner is decided one change at a time.
    Organization.unscoped.select_for_update().get(pk=organization.pk)
    rows = Membership.unscoped.filter(organization=organization)
    return {row.user_id: row for row in rows}


def _keep_an_owner(
    members: dict[str, Membership], *, leaving: Membership, by: Actor | None
) -> None:
    if leaving.role != Role.OWNER:
        return
    if by is not None and not policy.is_owner(by):
        raise Forbidden("Only an owner changes an owner")
    if sum(member.role == Role.OWNER for member in members.values()) == 1:
        raise LastOwner("An organization keeps at least one owner: make somebody else owner first")


def _audit_member(
    member: Membership,
    action: str,
    *,
    by: Actor | None,
    at: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    audit.record(
        action=action,
        actor=by,
        organization_id=member.organization_id,
        target_kind="user",
        target_id=member.user_id,
        before=before,
        after=after,
        at=at,
    )
