"""Settings documents: each change is a new revision."""

from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.actors import Actor
from accounts.versions import next_version
from audit import actions as audit
from orgs import documents, notices, policy
from orgs.models import Membership, Organization, Role, SettingsDraft, SettingsRevision
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import Conflict, InvalidInput, NotFound
from roocloud.lib.text import clean_label


class VersionConflict(Conflict):
    code = "version_conflict"


class ApprovalNeeded(Conflict):
    """Here another admin puts into force what one has written: propose it (orgs.actions.drafts)."""

    code = "approval_needed"


def save_settings(
    *,
    organization: Organization,
    document: Any,
    read_version: int,
    by: Actor,
    at: datetime,
    note: str = "",
    draft: SettingsDraft | None = None,
) -> SettingsRevision:
    """The one way to change an organization's settings (D7).

    document: JSON without ``version``. read_version: of the revision that the change started from.
    Profiles without an id get one; ids are never reused. Owners get mail about changes of what
    runs on members' computers (O1).

    Raises Forbidden, InvalidInput naming the path, VersionConflict if somebody saved in between.
    """
    policy.require_admin(by, organization)
    settings = documents.parse(document)
    stored = documents.dump(settings)
    with transaction.atomic():
        # The organization's row is the lock: versions follow each other without a fork.
        locked = Organization.unscoped.select_for_update().get(pk=organization.pk)
        author_id = draft.author_id if draft else by.user_id
        if locked.settings_need_approval and author_id == by.user_id:
            raise ApprovalNeeded("Another owner or admin must approve a change of these settings")
        current = current_revision(organization)
        if current is None or current.version != read_version:
            raise VersionConflict("Somebody saved these settings since you opened them")
        _name_profiles(stored, organization)
        revision = store(
            organization,
            stored,
            previous=current.version,
            by_id=author_id,
            approved_by_id=by.user_id if author_id != by.user_id else "",
            note=note,
            at=at,
        )
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
            after={"version": revision.version, "changed": changed}
            | ({"draftedBy": author_id} if author_id != by.user_id else {}),
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


def store(
    organization: Organization,
    document: dict[str, Any],
    *,
    previous: int | None,
    by_id: str,
    note: str,
    at: datetime,
    approved_by_id: str = "",
) -> SettingsRevision:
    """A revision as it is given; save_settings checks it and locks what it follows. An empty
    ``by_id`` is the server's default."""
    return SettingsRevision.unscoped.create(
        version=next_version(),
        previous_version=previous,
        organization=organization,
        document=document,
        made_by_id=by_id,
        approved_by_id=approved_by_id,
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
