"""Every write to organizations, their members and their settings."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.actors import Actor
from accounts.bearer import rights_cache
from accounts.versions import next_version
from audit import actions as audit
from orgs import documents, notices, policy
from orgs.models import Invitation, Membership, Organization, Role, SettingsRevision
from roocloud.lib.ids import digest, new_id, new_secret
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound
from roocloud.lib.text import clean_label

if TYPE_CHECKING:
    from accounts.models import User

INVITATION_LIFETIME = timedelta(days=14)


class LastOwner(Conflict):
    code = "last_owner"


class VersionConflict(Conflict):
    code = "version_conflict"


def _require_admin(by: Actor, organization: Organization) -> None:
    if by.organization_id != organization.pk or not policy.is_admin(by):
        raise Forbidden("This needs an owner or an admin of the organization")


def create_organization(*, name: str, owner: "User", by: Actor, at: datetime) -> Organization:
    """A new organization with its first owner and the default settings.

    Raises InvalidInput (``name``).
    """
    name = clean_label(name, 100)
    if not name:
        raise InvalidInput("Give the organization a name", field="name")
    with transaction.atomic():
        organization = _insert(name, at=at)
        Membership.unscoped.create(
            organization=organization, user=owner, role=Role.OWNER, created_at=at, updated_at=at
        )
        _store(
            organization, documents.dump(documents.DEFAULT), previous=None, by=None, note="", at=at
        )
        audit.record(
            action="organization.created",
            actor=by,
            organization_id=organization.pk,
            target_kind="organization",
            target_id=organization.pk,
            after={"name": name, "owner": owner.pk},
            at=at,
        )
    return organization


def find_organization(name: str) -> Organization | None:
    """By exact name, the oldest first; for the operator's commands."""
    return Organization.unscoped.filter(name=name).order_by("created_at", "pk").first()


def _insert(name: str, *, at: datetime) -> Organization:
    """The row, under the name's slug; under that with a random end where it is taken."""
    slug = slugify(name)[:40] or "team"
    try:
        with transaction.atomic():  # a savepoint: a slug that is taken costs this insert alone
            return Organization.unscoped.create(name=name, slug=slug, created_at=at)
    except IntegrityError:
        slug = f"{slug}-{new_id('x')[2:12].lower()}"
        return Organization.unscoped.create(name=name, slug=slug, created_at=at)


# --- Members ----------------------------------------------------------------------------------


def put_member(
    *, organization: Organization, user: "User", role: str, by: Actor | None, at: datetime
) -> Membership:
    """Make ``user`` a member with ``role``, or give a member that role. None as ``by`` is the
    operator.

    Raises InvalidInput (``role``), Forbidden, LastOwner.
    """
    role = _checked_role(role)
    with transaction.atomic():
        members = _lock_members(organization)
        if by is not None:
            _require_admin(by, organization)
            if role == Role.OWNER and not policy.is_owner(by):
                raise Forbidden("Only an owner makes owners")
        member = members.get(user.pk)
        if member is None:
            member = Membership.unscoped.create(
                organization=organization, user=user, role=role, created_at=at, updated_at=at
            )
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
            _require_admin(by, organization)
        _keep_an_owner(members, leaving=member, by=by)
        _audit_member(member, "membership.ended", by=by, before={"role": member.role}, at=at)
        member.delete()
    rights_cache.clear()


def _checked_role(role: str) -> Role:
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


# --- Invitations ------------------------------------------------------------------------------


def invite(
    *, organization: Organization, email: str, role: str, by: Actor, at: datetime
) -> tuple[Invitation, str]:
    """An invitation for an address, and its link's secret. Raises InvalidInput, Forbidden."""
    _require_admin(by, organization)
    role = _checked_role(role)
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
    _require_admin(by, invitation.organization)
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


# --- Settings ---------------------------------------------------------------------------------


def save_settings(
    *,
    organization: Organization,
    document: Any,
    read_version: int,
    by: Actor,
    at: datetime,
    note: str = "",
) -> SettingsRevision:
    """The one way to change an organization's settings (D7).

    document: JSON without ``version``. read_version: of the revision that the change started from.
    Profiles without an id get one; ids are never reused. Owners get mail about changes of what
    runs on members' computers (O1).

    Raises Forbidden, InvalidInput naming the path, VersionConflict if somebody saved in between.
    """
    _require_admin(by, organization)
    settings = documents.parse(document)
    stored = documents.dump(settings)
    with transaction.atomic():
        # The organization's row is the lock: versions follow each other without a fork.
        Organization.unscoped.select_for_update().get(pk=organization.pk)
        current = current_revision(organization)
        if current is None or current.version != read_version:
            raise VersionConflict("Somebody saved these settings since you opened them")
        _name_profiles(stored, organization)
        revision = _store(organization, stored, previous=current.version, by=by, note=note, at=at)
        changed = sorted(
            key
            for key in {*current.document, *stored}
            if current.document.get(key) != stored.get(key)
        )
        audit.record(
            action="organization_settings.saved",
            actor=by,
            target_kind="organization",
            target_id=organization.pk,
            before={"version": current.version},
            after={"version": revision.version, "changed": changed},
            note=note,
            at=at,
        )
        if not set(notices.WATCHED).isdisjoint(changed):
            # A queue that does not answer must not undo the save: the audit trail has it as well.
            transaction.on_commit(lambda: _tell_owners(revision), robust=True)
    return revision


def _tell_owners(revision: SettingsRevision) -> None:
    from orgs.tasks import tell_owner_of_settings

    owners = Membership.unscoped.filter(
        organization_id=revision.organization_id, role=Role.OWNER
    ).values_list("user_id", flat=True)
    for user_id in owners:
        tell_owner_of_settings.delay(version=revision.version, user_id=user_id)


def roll_back(
    *, organization: Organization, to_version: int, read_version: int, by: Actor, at: datetime
) -> SettingsRevision:
    """Bring an earlier revision back as a new one. Raises NotFound and what save_settings does."""
    earlier = SettingsRevision.unscoped.filter(organization=organization, pk=to_version).first()
    if earlier is None:
        raise NotFound("There is no such version")
    return save_settings(
        organization=organization,
        document=earlier.document,
        read_version=read_version,
        by=by,
        note=f"Back to version {to_version}",
        at=at,
    )


def current_revision(organization: Organization) -> SettingsRevision | None:
    return SettingsRevision.unscoped.filter(organization=organization).order_by("-version").first()


def personal_revision(*, user_id: str, at: datetime) -> SettingsRevision:
    """The settings of a personal account: the default, under a version of the person's own, since
    clients compare versions across contexts (trap 15)."""
    newest = SettingsRevision.unscoped.filter(user_id=user_id).order_by("-version").first()
    default = documents.dump(documents.DEFAULT)
    if newest is not None and newest.document == default:
        return newest
    with transaction.atomic():
        revision, _ = SettingsRevision.unscoped.get_or_create(
            user_id=user_id,
            previous_version=newest.version if newest else None,
            defaults={"version": next_version(), "document": default, "made_at": at},
        )
    return revision


def _store(
    organization: Organization,
    document: dict[str, Any],
    *,
    previous: int | None,
    by: Actor | None,
    note: str,
    at: datetime,
) -> SettingsRevision:
    return SettingsRevision.unscoped.create(
        version=next_version(),
        previous_version=previous,
        organization=organization,
        document=document,
        made_by_id=by.user_id if by else "",
        made_at=at,
        note=clean_label(note, 500),
    )


def _name_profiles(document: dict[str, Any], organization: Organization) -> None:
    """An id is a profile's identity in every editor: stable across renames, unique in the
    deployment, never given to another profile (protocol/settings.md §5). So ids are made here, and
    one that comes in must be from this organization's own history."""
    profiles: dict[str, dict[str, Any]] = document.get("providerProfiles", {})
    known = _profile_ids(organization) if any("id" in p for p in profiles.values()) else set()
    seen: set[str] = set()
    for name, profile in profiles.items():
        field = f"providerProfiles.{name}.id"
        profile_id = profile.get("id")
        if profile_id is None:
            profile["id"] = profile_id = new_id("cloud")
        elif profile_id not in known:
            raise InvalidInput(
                "is not an id of this server: leave it out for a new profile", field=field
            )
        if profile_id in seen:
            raise InvalidInput("is used by two profiles", field=field)
        seen.add(profile_id)


def _profile_ids(organization: Organization) -> set[str]:
    documents_so_far = SettingsRevision.unscoped.filter(organization=organization).values_list(
        "document", flat=True
    )
    return {
        profile["id"]
        for document in documents_so_far
        for profile in document.get("providerProfiles", {}).values()
    }
