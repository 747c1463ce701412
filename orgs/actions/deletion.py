"""The end of an organization: asked for, waited for, carried out."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.actions import forget_provider
from accounts.actors import Actor
from accounts.api_keys import revoke_all
from accounts.bearer import rights_cache
from audit import actions as audit
from orgs import estate, policy
from orgs.actions.single_sign_on import provider_id
from orgs.models import (
    Departure,
    Domain,
    Invitation,
    Logo,
    MarketplaceItem,
    Membership,
    Organization,
    SettingsDraft,
    SettingsRevision,
    SingleSignOn,
)
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput

NAME = "Deleted organization"
#: After this long nothing is under way any more that began with rights in the organization.
_SETTLED = timedelta(minutes=1)


def ask_deletion(*, organization: Organization, typed: str, by: Actor, at: datetime) -> datetime:
    """Have an organization deleted after the waiting time; when that ends. All goes on until then.

    typed: the name of the organization, so that nobody deletes another one than they think.
    Raises Forbidden for everybody but owners, InvalidInput (``name``), Conflict if it was asked for
    already.
    """
    _require_owner(by, organization)
    if typed.strip() != organization.name:
        raise InvalidInput(f"Type the name as it is: {organization.name}", field="name")
    due_at = at + settings.ROOCLOUD_DELETION_WAIT
    with transaction.atomic():
        rows = Organization.unscoped.filter(pk=organization.pk, deletion_due_at=None)
        if not rows.update(deletion_due_at=due_at, deletion_asked_by_id=by.user_id):
            raise Conflict("It is to be deleted already")
        _record("organization.deletion_asked", organization.pk, by=by, at=at)
        _tell(organization.pk, "asked")
    return due_at


def take_back_deletion(*, organization: Organization, by: Actor, at: datetime) -> None:
    """Keep an organization that waits to be deleted; any owner may. Raises Forbidden."""
    _require_owner(by, organization)
    with transaction.atomic():
        rows = Organization.unscoped.waiting_to_go(at).filter(pk=organization.pk)
        if rows.update(deletion_due_at=None, deletion_asked_by_id=""):
            _record("organization.deletion_taken_back", organization.pk, by=by, at=at)
            _tell(organization.pk, "taken_back")


def due_deletions(*, at: datetime) -> list[str]:
    """Ids of organizations whose waiting time is over and that are not all gone."""
    rows = Organization.unscoped.filter(deletion_due_at__lte=at, cleared_at=None)
    return list(rows.order_by("deletion_due_at", "pk").values_list("pk", flat=True))


def carry_out_deletion(*, organization_id: str, at: datetime) -> bool:
    """Delete an organization that is due. Cut off anywhere, it goes on when it is called again.

    People and keys lose it first, in one transaction and within seconds (B4); then each room
    deletes what it has. A request that was under way may still have stored something, so a later
    call looks again, and it is the one that answers True. Ledger, usage and trail stay, under the
    id alone (C1, L3, L4).
    """
    _close(organization_id, at=at)
    rows = Organization.unscoped.filter(pk=organization_id, cleared_at=None)
    deleted_at = rows.values_list("deleted_at", flat=True).first()
    if deleted_at is None:
        return False
    estate.clear(organization_id, at=at)
    return at - deleted_at >= _SETTLED and bool(rows.update(cleared_at=at))


def _close(organization_id: str, *, at: datetime) -> None:
    with transaction.atomic():
        due = Organization.unscoped.select_for_update().filter(
            pk=organization_id, deletion_due_at__lte=at, deleted_at=None
        )
        if not due.exists():
            return
        own = (
            Membership, Departure, Invitation, Domain, SingleSignOn, SettingsRevision,
            SettingsDraft, MarketplaceItem, Logo,
        )  # fmt: skip
        for model in own:
            model.unscoped.filter(organization_id=organization_id).delete()
        forget_provider(provider_id(organization_id))
        revoke_all(organization_id=organization_id, at=at)
        slug = organization_id.lower().replace("_", "-")
        due.update(name=NAME, slug=slug, remote_control=False, deleted_at=at)
        _record("organization.deleted", organization_id, by=None, at=at)
    rights_cache.clear()


def _require_owner(by: Actor, organization: Organization) -> None:
    if by.organization_id != organization.pk or not policy.is_owner(by):
        raise Forbidden("This needs an owner of the organization")


def _record(action: str, organization_id: str, *, by: Actor | None, at: datetime) -> None:
    audit.record(
        action=action,
        actor=by,
        organization_id=organization_id,
        target_kind="organization",
        target_id=organization_id,
        at=at,
    )


def _tell(organization_id: str, what: str) -> None:
    """Owners and admins, whoever asked; so that nobody finds out too late."""
    from orgs.tasks import tell_of_deletion

    rows = Membership.unscoped.filter(organization_id=organization_id, role__in=policy.ADMIN_ROLES)
    for user_id in rows.order_by("user_id").values_list("user_id", flat=True):
        tell_of_deletion.delay_on_commit(
            organization_id=organization_id, user_id=user_id, what=what
        )
