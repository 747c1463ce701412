"""Invitations: links that offer a role, to one address or to whoever has the link."""

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F

from accounts.actors import Actor
from audit import actions as audit
from orgs import policy
from orgs.actions.members import checked_role, put_member
from orgs.addresses import address, domain_of
from orgs.addresses import entries as entries_of
from orgs.models import Domain, Invitation, Membership, Organization, Role
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound, TooManyRequests

if TYPE_CHECKING:
    from accounts.models import User

INVITATION_LIFETIME = timedelta(days=14)
MAX_LIFETIME = timedelta(days=90)
#: Addresses that one paste may hold, and invitations that an organization may make in an hour (B6).
MAX_AT_ONCE = 200
MAX_PER_HOUR = 500
MAX_USES = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one address of a paste. entry: as it was written; refusal: why nobody was
    invited, empty for an invitation, of which secret is the link's."""

    entry: str
    refusal: str = ""
    invitation: Invitation | None = None
    secret: str = ""


def invite(
    *,
    organization: Organization,
    email: str,
    role: str,
    by: Actor,
    at: datetime,
    lifetime: timedelta = INVITATION_LIFETIME,
) -> tuple[Invitation, str]:
    """An invitation for an address, and its link's secret. It takes the place of an earlier one.

    Raises InvalidInput, Forbidden, TooManyRequests.
    """
    email = address(email)
    if not email:
        raise InvalidInput("is not an e-mail address", field="email")
    [made] = _invite(organization, [email], role=role, by=by, at=at, lifetime=lifetime)
    return made


def invite_many(
    *,
    organization: Organization,
    entries: str,
    role: str,
    by: Actor,
    at: datetime,
    lifetime: timedelta = INVITATION_LIFETIME,
) -> list[Outcome]:
    """An invitation for each address of a text with one a line, or with commas between them, also
    as ``Name <address>``. What cannot be invited stops nobody else.

    Raises InvalidInput (``entries``), Forbidden, TooManyRequests.
    """
    written = entries_of(entries)
    if not written:
        raise InvalidInput("Write at least one address", field="entries")
    if len(written) > MAX_AT_ONCE:
        raise InvalidInput(f"may hold {MAX_AT_ONCE} addresses at once", field="entries")
    addresses = [address(entry) for entry in written]
    rows = Membership.unscoped.filter(organization=organization, user__email__in=addresses)
    members = set(rows.values_list("user__email", flat=True))
    refusals, wanted = [], dict[str, None]()  # in order, each once
    for email in addresses:
        refusals.append(_unwelcome(email, members=members, wanted=wanted))
        if not refusals[-1]:
            wanted[email] = None
    made = iter(_invite(organization, wanted, role=role, by=by, at=at, lifetime=lifetime))
    return [
        Outcome(entry, refusal) if refusal else Outcome(entry, "", *next(made))
        for entry, refusal in zip(written, refusals, strict=True)
    ]


def _unwelcome(email: str, *, members: set[str], wanted: Container[str]) -> str:
    if not email:
        return "is not an e-mail address"
    if email in members:
        return "is a member already"
    return "stands here twice" if email in wanted else ""


def make_link(
    *,
    organization: Organization,
    role: str,
    max_uses: int,
    by: Actor,
    at: datetime,
    lifetime: timedelta = INVITATION_LIFETIME,
    domain: str = "",
) -> tuple[Invitation, str]:
    """An invitation for whoever has its link and a verified address, up to ``max_uses`` people.
    domain: where that address must be, if not empty. Owners are invited by address alone.

    Raises InvalidInput, Forbidden, TooManyRequests.
    """
    role = _checked(organization, role=role, by=by, lifetime=lifetime)
    if role == Role.OWNER:
        raise InvalidInput("Invite owners by their address", field="role")
    if not 0 < max_uses <= MAX_USES:
        raise InvalidInput(f"must be between 1 and {MAX_USES}", field="max_uses")
    verified = Domain.unscoped.verified().filter(organization=organization, name=domain)
    if domain and not verified.exists():
        raise InvalidInput("Choose a domain that is verified", field="domain")
    secret = new_secret("inv")
    with transaction.atomic():
        _make_room(organization, 1, at=at)
        invitation = Invitation.unscoped.create(
            organization=organization,
            domain=domain,
            role=role,
            max_uses=max_uses,
            token_hash=digest(secret),
            made_by_id=by.user_id,
            created_at=at,
            expires_at=at + lifetime,
        )
        after = {"role": role, "maxUses": max_uses, "domain": domain}
        _audit(invitation, "invitation.created", by=by, after=after, at=at)
    return invitation, secret


def new_link(*, invitation: Invitation, by: Actor, at: datetime) -> str:
    """Another secret for an invitation that is live; the one before is worthless.

    Raises NotFound, Forbidden.
    """
    policy.require_admin(by, invitation.organization)
    secret = new_secret("inv")
    with transaction.atomic():
        rows = Invitation.unscoped.live(at).filter(pk=invitation.pk)
        if not rows.update(token_hash=digest(secret), mailed_at=None):
            raise NotFound("This invitation has ended")
        _audit(invitation, "invitation.link_renewed", by=by, at=at)
    return secret


def secret_to_mail(*, invitation_id: str, at: datetime) -> tuple[Invitation, str] | None:
    """An invitation that was not mailed yet, with a secret made for the mail: none waits in a queue
    or a table until then (I1). None if there is nothing to mail any more."""
    secret = new_secret("inv")
    rows = Invitation.unscoped.live(at).filter(pk=invitation_id, mailed_at=None).exclude(email="")
    if not rows.update(token_hash=digest(secret)):
        return None
    return Invitation.unscoped.select_related("organization").get(pk=invitation_id), secret


def note_mailed(*, invitation: Invitation, secret: str, at: datetime) -> None:
    """That the mail with this secret went out."""
    Invitation.unscoped.filter(pk=invitation.pk, token_hash=digest(secret)).update(mailed_at=at)


def revoke_invitation(*, invitation: Invitation, by: Actor, at: datetime) -> None:
    """Make the link worthless. Raises Forbidden."""
    policy.require_admin(by, invitation.organization)
    with transaction.atomic():
        if Invitation.unscoped.live(at).filter(pk=invitation.pk).update(revoked_at=at):
            _audit(invitation, "invitation.revoked", by=by, at=at)


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


def admits(invitation: Invitation, verified: Collection[str]) -> bool:
    """Whether somebody who proved to own these addresses, in lower case, is whom it is for (B7)."""
    if invitation.email:
        return invitation.email in verified
    return any(not invitation.domain or domain_of(one) == invitation.domain for one in verified)


def accept_invitation(*, secret: str, user: "User", verified: set[str], at: datetime) -> Membership:
    """Join. verified: the addresses, in lower case, that the person proved to own (B7). A link is
    used up by those who join by it, not by members who open it.

    An invitation grants no more than its maker could grant now (A4). Raises NotFound, Forbidden.
    """
    with transaction.atomic():
        invitation = find_invitation(secret=secret, at=at)
        if not admits(invitation, verified):
            raise Forbidden(_whom(invitation))
        maker = Membership.unscoped.filter(
            organization=invitation.organization, user_id=invitation.made_by_id
        ).first()
        if maker is None or maker.role not in policy.ADMIN_ROLES:
            raise NotFound("Whoever made this invitation may not invite any more")
        if invitation.role == Role.OWNER and maker.role != Role.OWNER:
            raise NotFound("Whoever made this invitation may not invite owners any more")
        held = Membership.unscoped.filter(organization=invitation.organization, user=user).first()
        if held is not None and invitation.is_link:
            return held
        taken = Invitation.unscoped.live(at).filter(pk=invitation.pk)
        if not taken.update(uses=F("uses") + 1, accepted_at=at):
            raise NotFound("This invitation was used already")
        if held is not None:
            return held
        return put_member(
            organization=invitation.organization, user=user, role=invitation.role, by=None, at=at
        )


def _whom(invitation: Invitation) -> str:
    if invitation.email:
        whose = f"for {invitation.email}. Sign in with that address, or verify it"
    elif invitation.domain:
        whose = f"for addresses at {invitation.domain}. Verify one of yours there"
    else:
        whose = "for people with a verified address. Verify yours"
    return f"This invitation is {whose} in your account first."


def _checked(organization: Organization, *, role: str, by: Actor, lifetime: timedelta) -> Role:
    """The role that ``by`` may offer (A4). Raises InvalidInput, Forbidden."""
    policy.require_admin(by, organization)
    checked = checked_role(role)
    if checked == Role.OWNER and not policy.is_owner(by):
        raise Forbidden("Only an owner invites owners")
    if not timedelta() < lifetime <= MAX_LIFETIME:
        raise InvalidInput(f"must end within {MAX_LIFETIME.days} days", field="days")
    return checked


def _invite(
    organization: Organization,
    emails: Iterable[str],
    *,
    role: str,
    by: Actor,
    at: datetime,
    lifetime: timedelta,
) -> Sequence[tuple[Invitation, str]]:
    """An invitation for each address, and its secret, in their order."""
    checked = _checked(organization, role=role, by=by, lifetime=lifetime)
    secrets = {email: new_secret("inv") for email in emails}
    with transaction.atomic():
        _make_room(organization, len(secrets), at=at)
        Invitation.unscoped.live(at).filter(organization=organization, email__in=secrets).update(
            revoked_at=at
        )
        made = Invitation.unscoped.bulk_create(
            Invitation(
                organization=organization,
                email=email,
                role=checked,
                token_hash=digest(secret),
                made_by_id=by.user_id,
                created_at=at,
                expires_at=at + lifetime,
            )
            for email, secret in secrets.items()
        )
        audit.record_all(
            _trace(
                one, "invitation.created", by=by, after={"email": one.email, "role": role}, at=at
            )
            for one in made
        )
    return [(one, secrets[one.email]) for one in made]


def _make_room(organization: Organization, count: int, *, at: datetime) -> None:
    """Raises TooManyRequests."""
    recent = Invitation.unscoped.filter(
        organization=organization, created_at__gt=at - timedelta(hours=1)
    )
    if recent.count() + count > MAX_PER_HOUR:
        raise TooManyRequests(
            f"An organization makes at most {MAX_PER_HOUR} invitations an hour",
            retry_after_s=3600,
        )


def _trace(
    invitation: Invitation,
    action: str,
    *,
    by: Actor,
    at: datetime,
    after: dict[str, Any] | None = None,
) -> audit.Trace:
    return audit.Trace(
        action=action,
        actor=by,
        organization_id=invitation.organization_id,
        target_kind="invitation",
        target_id=invitation.pk,
        after=after,
        at=at,
    )


def _audit(
    invitation: Invitation,
    action: str,
    *,
    by: Actor,
    at: datetime,
    after: dict[str, Any] | None = None,
) -> None:
    audit.record_all([_trace(invitation, action, by=by, after=after, at=at)])
