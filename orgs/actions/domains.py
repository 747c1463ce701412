"""Mail domains of organizations: proven by a record in the DNS, and joined by."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.core.validators import DomainNameValidator
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.actors import Actor
from audit import actions as audit
from orgs import policy
from orgs.actions.members import put_member
from orgs.addresses import domain_of
from orgs.models import Domain, Membership, Organization, Role
from orgs.public_mail import DOMAINS as PUBLIC_MAIL
from roocloud.lib.ids import new_secret
from roocloud.lib.lookups import LookupFailed, txt_records
from roocloud.lib.refusals import Conflict, InvalidInput, TooManyRequests, Unavailable

if TYPE_CHECKING:
    from accounts.models import User

MAX_DOMAINS = 50
#: At least this long between two look-ups that people ask for.
_PAUSE = timedelta(seconds=5)
#: How long the record of a verified domain may be missing before the domain counts no more.
GRACE = timedelta(days=3)
_is_domain = DomainNameValidator(accept_idna=False)


def record_name(domain: Domain) -> str:
    """Where the TXT record is looked for."""
    return f"_roocloud-challenge.{domain.name}"


def record_text(domain: Domain) -> str:
    """What it must say."""
    return f"roocloud-verification={domain.token}"


def add_domain(*, organization: Organization, name: str, by: Actor, at: datetime) -> Domain:
    """Note a domain that is still to be proven. Raises InvalidInput (``name``), Forbidden."""
    policy.require_admin(by, organization)
    name = name.strip().rstrip(".").lower()
    try:
        _is_domain(name)
    except ValidationError:
        raise InvalidInput("is not a domain such as acme.example", field="name") from None
    if name in PUBLIC_MAIL:
        raise InvalidInput("gives mailboxes to anybody, so it is nobody's own", field="name")
    mine = Domain.unscoped.filter(organization=organization)
    with transaction.atomic():
        Organization.unscoped.select_for_update().get(pk=organization.pk)
        if mine.filter(name=name).exists():
            raise InvalidInput("stands below already", field="name")
        if mine.count() >= MAX_DOMAINS:
            raise InvalidInput(f"An organization has at most {MAX_DOMAINS} domains", field="name")
        domain = Domain.unscoped.create(
            organization=organization, name=name, token=new_secret("dns")[4:], created_at=at
        )
        _record("domain.added", domain, by=by, at=at)
    return domain


def verify_domain(*, domain: Domain, by: Actor, at: datetime) -> None:
    """Look for the record now, for four seconds at most.

    Raises InvalidInput if it is not there, Conflict if another organization has proven the domain,
    Unavailable if the DNS did not answer, TooManyRequests, Forbidden.
    """
    policy.require_admin(by, domain.organization)
    ready = Domain.unscoped.filter(
        Q(checked_at=None) | Q(checked_at__lte=at - _PAUSE), pk=domain.pk
    )
    if not ready.update(checked_at=at):
        raise TooManyRequests("Wait a few seconds", retry_after_s=int(_PAUSE.total_seconds()))
    try:
        found = record_text(domain) in txt_records(record_name(domain))
    except LookupFailed:
        raise Unavailable("The DNS did not answer. Try again", retry_after_s=10) from None
    if not found:
        raise InvalidInput("The record is not there yet. It may take an hour to be seen")
    try:
        with transaction.atomic():
            rows = Domain.unscoped.filter(pk=domain.pk)
            rows.update(missing_since=None)
            if rows.filter(verified_at=None).update(verified_at=at):
                _record("domain.verified", domain, by=by, at=at)
    except IntegrityError:
        raise Conflict("Another organization here has proven this domain") from None


def recheck_domain(*, domain_id: str, at: datetime) -> None:
    """Look again for the record of a verified domain. One that is missing for GRACE counts no more;
    a DNS that does not answer says nothing."""
    domain = Domain.unscoped.verified().filter(pk=domain_id).first()
    if domain is None:
        return
    try:
        found = record_text(domain) in txt_records(record_name(domain))
    except LookupFailed:
        return
    rows = Domain.unscoped.verified().filter(pk=domain.pk)
    rows.update(checked_at=at)
    if found:
        rows.update(missing_since=None)
        return
    rows.filter(missing_since=None).update(missing_since=at)
    with transaction.atomic():
        lost = rows.filter(missing_since__lte=at - GRACE)
        if lost.update(verified_at=None, missing_since=None):
            _record("domain.lost", domain, by=None, at=at)


def set_joining(*, domain: Domain, is_on: bool, by: Actor, at: datetime) -> None:
    """Whether people with a verified address there become members when they sign in.

    Raises Forbidden.
    """
    policy.require_admin(by, domain.organization)
    with transaction.atomic():
        rows = Domain.unscoped.filter(pk=domain.pk, joins=not is_on)
        if rows.update(joins=is_on):
            _record("domain.joining_switched", domain, by=by, at=at, after={"joins": is_on})


def remove_domain(*, domain: Domain, by: Actor, at: datetime) -> None:
    """Raises Forbidden."""
    policy.require_admin(by, domain.organization)
    with transaction.atomic():
        removed, _ = Domain.unscoped.filter(pk=domain.pk).delete()
        if removed:
            _record("domain.removed", domain, by=by, at=at)


def verified_domains(organization_id: str) -> list[str]:
    """Names, in order."""
    rows = Domain.unscoped.verified().filter(organization_id=organization_id)
    return list(rows.order_by("name").values_list("name", flat=True))


def join_by_domain(*, user: "User", verified: Collection[str], at: datetime) -> list[Membership]:
    """Make somebody a member wherever the domain of one of their verified addresses lets people
    join; not where they left or were taken out. The new memberships."""
    joined = Organization.unscoped.filter(
        domains__in=Domain.unscoped.verified().filter(
            joins=True, name__in={domain_of(email) for email in verified}
        ),
        deleted_at=None,
    )
    missed = joined.exclude(memberships__user=user).exclude(departures__user=user).distinct()
    return [
        put_member(organization=organization, user=user, role=Role.MEMBER, by=None, at=at)
        for organization in missed
    ]


def _record(
    action: str,
    domain: Domain,
    *,
    by: Actor | None,
    at: datetime,
    after: dict[str, bool] | None = None,
) -> None:
    audit.record(
        action=action,
        actor=by,
        organization_id=domain.organization_id,
        target_kind="domain",
        target_id=domain.name,
        after=after,
        at=at,
    )
