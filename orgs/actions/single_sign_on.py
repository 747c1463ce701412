"""Single sign-ons of organizations, by OpenID Connect (see accounts.single_sign_on)."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction

from accounts import single_sign_on
from accounts.actions import forget_provider
from accounts.actors import Actor
from accounts.bearer import rights_cache
from accounts.issuers import check_issuer
from audit import actions as audit
from orgs import policy
from orgs.actions.members import put_member
from orgs.addresses import domain_of
from orgs.models import Departure, Domain, Membership, Organization, Role, SingleSignOn
from orgs.web_urls import is_web_url
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound

if TYPE_CHECKING:
    from accounts.models import User


def provider_id(organization_id: str) -> str:
    """By which allauth knows the single sign-on of an organization."""
    return f"{single_sign_on.PREFIX}{organization_id}"


def put_single_sign_on(
    *,
    organization: Organization,
    issuer: str,
    client_id: str,
    secret: str,
    by: Actor,
    at: datetime,
) -> None:
    """Name the organization's issuer, or another one: then nobody is signed in any more by what
    the one before said of them. secret: empty keeps the stored one, of the same issuer and client.

    The issuer is asked for its document, for ten seconds at most (K1). Raises InvalidInput naming
    the field, Forbidden for everybody but owners.
    """
    _require_owner(by, organization)
    issuer = issuer.strip().rstrip("/")
    if not is_web_url(issuer):
        raise InvalidInput("is not a URL such as https://login.acme.example", field="issuer")
    row = SingleSignOn.unscoped.filter(organization=organization).first()
    is_same = row is not None and (row.issuer, row.client_id) == (issuer, client_id)
    if not secret and not is_same:
        raise InvalidInput("Another issuer or client has a secret of its own", field="secret")
    try:
        check_issuer(issuer)
    except OSError as fault:
        raise InvalidInput(f"cannot be asked: {fault}", field="issuer") from None
    with transaction.atomic():
        Organization.unscoped.select_for_update().get(pk=organization.pk)
        row = SingleSignOn.unscoped.filter(organization=organization).first()
        before = {"issuer": row.issuer, "clientId": row.client_id} if row else None
        row = row or SingleSignOn(organization=organization)
        row.issuer, row.client_id, row.updated_at = issuer, client_id, at
        if secret:
            row.set_secret(secret)
        row.save()
        after = {"issuer": issuer, "clientId": client_id}
        if before != after:
            forget_provider(provider_id(organization.pk))
        _record("single_sign_on.set", organization, by=by, at=at, before=before, after=after)


def require_single_sign_on(
    *, organization: Organization, is_required: bool, break_glass_id: str, by: Actor, at: datetime
) -> None:
    """Whether people at the proven domains come by the single sign-on alone, sessions that exist
    included: within seconds (B4; see orgs.sign_on). break_glass_id: an owner, who is not asked.

    Raises InvalidInput naming the field, NotFound without a single sign-on, Forbidden for everybody
    but owners.
    """
    _require_owner(by, organization)
    owners = Membership.unscoped.filter(organization=organization, role=Role.OWNER)
    if not owners.filter(user_id=break_glass_id).exists():
        raise InvalidInput("Choose an owner", field="break_glass_id")
    if is_required and not Domain.unscoped.verified().filter(organization=organization).exists():
        raise InvalidInput("Prove a domain first", field="is_required")
    after = {"isRequired": is_required, "breakGlass": break_glass_id}
    with transaction.atomic():
        rows = SingleSignOn.unscoped.filter(organization=organization)
        if not rows.update(is_required=is_required, break_glass_id=break_glass_id):
            raise NotFound("There is no single sign-on yet")
        _record("single_sign_on.required", organization, by=by, at=at, after=after)
    rights_cache.clear()


def remove_single_sign_on(*, organization: Organization, by: Actor, at: datetime) -> None:
    """Raises Forbidden for everybody but owners."""
    _require_owner(by, organization)
    with transaction.atomic():
        removed, _ = SingleSignOn.unscoped.filter(organization=organization).delete()
        if removed:
            forget_provider(provider_id(organization.pk))
            _record("single_sign_on.removed", organization, by=by, at=at)


def provider_for(email: str) -> str | None:
    """The provider of the organization that has proven the domain of an address; None if there is
    none, or it has no single sign-on."""
    found = SingleSignOn.unscoped.filter(
        organization__domains__in=Domain.unscoped.verified().filter(name=domain_of(email))
    )
    organization_id = found.values_list("organization_id", flat=True).first()
    return provider_id(organization_id) if organization_id else None


def join_by_sign_on(*, user: "User", provider: str, at: datetime) -> None:
    """Make whom an organization's single sign-on has signed in a member of it, unless they left or
    were taken out."""
    if not single_sign_on.is_organizations(provider):
        return
    organization_id = provider.removeprefix(single_sign_on.PREFIX)
    facts = {"organization_id": organization_id, "user": user}
    if any(model.unscoped.filter(**facts).exists() for model in (Membership, Departure)):
        return
    organization = Organization.unscoped.get(pk=organization_id)
    put_member(organization=organization, user=user, role=Role.MEMBER, by=None, at=at)


def _require_owner(by: Actor, organization: Organization) -> None:
    """It may open the accounts of people at the organization's domains."""
    if by.organization_id != organization.pk or not policy.is_owner(by):
        raise Forbidden("This needs an owner of the organization")


def _record(
    action: str,
    organization: Organization,
    *,
    by: Actor,
    at: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    audit.record(
        action=action,
        actor=by,
        organization_id=organization.pk,
        target_kind="organization",
        target_id=organization.pk,
        before=before,
        after=after,
        at=at,
    )
