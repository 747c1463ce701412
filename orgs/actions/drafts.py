"""Settings that are not in force yet: one's own at work, and those that wait for another admin."""

from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.actors import Actor
from audit import actions as audit
from orgs import documents, policy
from orgs.actions.revisions import VersionConflict, current_revision, save_settings
from orgs.models import (
    Membership,
    Organization,
    SettingsDraft,
    SettingsDraftQuerySet,
    SettingsRevision,
)
from roocloud.lib.refusals import Conflict, Forbidden, NotFound
from roocloud.lib.text import clean_label


class DraftDecided(Conflict):
    code = "draft_decided"


def keep_draft(
    *, organization: Organization, document: Any, read_version: int, by: Actor, at: datetime
) -> SettingsDraft:
    """Keep what somebody has changed so far; they have one such draft in an organization.

    read_version: what the change started from; of a draft that is there already, its own counts.

    Raises Forbidden, InvalidInput naming the path, NotFound for an unknown version.
    """
    policy.require_admin(by, organization)
    stored = documents.dump(documents.parse(document))
    if not SettingsRevision.unscoped.filter(organization=organization, pk=read_version).exists():
        raise NotFound("There is no such version")
    draft, _ = SettingsDraft.unscoped.at_work().update_or_create(
        organization=organization,
        author_id=by.user_id,
        proposed_at=None,
        defaults={"document": stored, "changed_at": at},
        create_defaults={"document": stored, "changed_at": at, "base_version": read_version},
    )
    return draft


def discard_draft(*, organization: Organization, by: Actor) -> None:
    """Forget what ``by`` has changed and not saved. Raises Forbidden."""
    policy.require_admin(by, organization)
    _mine(organization, by).delete()


def save_draft(
    *, organization: Organization, read_version: int, by: Actor, note: str, at: datetime
) -> SettingsRevision:
    """Put into force what ``by`` has changed, and forget the draft.

    Raises NotFound without a draft, VersionConflict for one of an older version, and what
    save_settings does.
    """
    with transaction.atomic():
        draft = _mine(organization, by).select_for_update().first()
        if draft is None:
            raise NotFound("There is nothing that you have changed")
        _require_current(draft, read_version)
        revision = save_settings(
            organization=organization,
            document=draft.document,
            read_version=read_version,
            by=by,
            note=note,
            at=at,
        )
        draft.delete()
    return revision


def propose_draft(
    *, organization: Organization, read_version: int, by: Actor, note: str, at: datetime
) -> SettingsDraft:
    """Let another owner or admin decide about what ``by`` has changed.

    Raises Forbidden, NotFound without a draft, VersionConflict for one of an older version.
    """
    policy.require_admin(by, organization)
    with transaction.atomic():
        draft = _mine(organization, by).select_for_update().first()
        if draft is None:
            raise NotFound("There is nothing that you have changed")
        _require_current(draft, read_version)
        draft.note = clean_label(note, 500)
        draft.proposed_at = at
        draft.save(update_fields=["note", "proposed_at"])
        _record("proposed", draft, by=by, note=note, at=at)
        # A queue that does not answer must not undo the proposal: the settings page shows it too.
        transaction.on_commit(lambda: _tell_others(draft), robust=True)
    return draft


def propose(
    *,
    organization: Organization,
    document: Any,
    read_version: int,
    by: Actor,
    note: str,
    at: datetime,
) -> SettingsDraft:
    """Propose a document at once, beside what ``by`` may have at work.

    Raises Forbidden, InvalidInput naming the path, VersionConflict.
    """
    policy.require_admin(by, organization)
    with transaction.atomic():
        draft = SettingsDraft(
            organization=organization,
            author_id=by.user_id,
            base_version=read_version,
            document=documents.dump(documents.parse(document)),
            note=clean_label(note, 500),
            changed_at=at,
            proposed_at=at,
        )
        _require_current(draft, read_version)
        draft.save(force_insert=True)
        _record("proposed", draft, by=by, note=note, at=at)
        # A queue that does not answer must not undo the proposal: the settings page shows it too.
        transaction.on_commit(lambda: _tell_others(draft), robust=True)
    return draft


def approve_draft(*, draft_id: str, read_version: int, by: Actor, at: datetime) -> SettingsRevision:
    """Put a proposal of somebody else into force, as it is.

    Raises NotFound, DraftDecided, Forbidden for its author, and what save_settings does.
    """
    with transaction.atomic():
        draft = _lock_waiting(draft_id, by)
        if draft.author_id == by.user_id:
            raise Forbidden("Somebody else must approve what you have proposed")
        _require_current(draft, read_version)
        revision = save_settings(
            organization=draft.organization,
            document=draft.document,
            read_version=read_version,
            by=by,
            note=draft.note,
            at=at,
            draft=draft,
        )
        _decide(draft, by=by, version=revision.version, at=at)
    return revision


def turn_down_draft(*, draft_id: str, by: Actor, at: datetime) -> None:
    """Refuse a proposal, or withdraw one's own. Raises NotFound, DraftDecided, Forbidden."""
    with transaction.atomic():
        draft = _lock_waiting(draft_id, by)
        policy.require_admin(by, draft.organization)
        _decide(draft, by=by, version=None, at=at)
        what = "withdrawn" if draft.author_id == by.user_id else "refused"
        _record(what, draft, by=by, note="", at=at)


def bring_up_to_date(*, draft_id: str, by: Actor, at: datetime) -> SettingsDraft:
    """Apply what a draft changes to the version in force now.

    Where both changed the same field the draft's value stays, as the difference then shows.

    Raises NotFound, DraftDecided, Forbidden, InvalidInput if both together are no valid document.
    """
    with transaction.atomic():
        draft = SettingsDraft.unscoped.select_for_update().filter(pk=draft_id).first()
        if draft is None or draft.organization_id != by.organization_id:
            raise NotFound("There is no such draft")
        if draft.decided_at is not None:
            raise DraftDecided("Somebody has decided about it")
        policy.require_admin(by, draft.organization)
        current = current_revision(draft.organization)
        base = SettingsRevision.unscoped.get(pk=draft.base_version)
        if current is None:
            raise LookupError("an organization without settings")
        merged = merge(base.document, draft.document, current.document)
        draft.document = documents.dump(documents.parse(merged))
        draft.base_version = current.version
        draft.changed_at = at
        draft.save(update_fields=["document", "base_version", "changed_at"])
    return draft


def demand_approval(
    *, organization: Organization, is_demanded: bool, by: Actor, at: datetime
) -> None:
    """Whether a second owner or admin must approve each change of the settings.

    Raises Forbidden for everybody but owners.
    """
    if by.organization_id != organization.pk or not policy.is_owner(by):
        raise Forbidden("This needs an owner of the organization")
    with transaction.atomic():
        changed = (
            Organization.unscoped.filter(pk=organization.pk)
            .exclude(settings_need_approval=is_demanded)
            .update(settings_need_approval=is_demanded)
        )
        if changed:
            audit.record(
                action="organization_settings.approval_switched",
                actor=by,
                organization_id=organization.pk,
                target_kind="organization",
                target_id=organization.pk,
                before={"isDemanded": not is_demanded},
                after={"isDemanded": is_demanded},
                at=at,
            )


def merge(base: Any, mine: Any, theirs: Any) -> Any:
    """``theirs`` with what ``mine`` changed in ``base``, key by key; lists are one value each."""
    if mine == base:
        return theirs
    if not (isinstance(mine, dict) and isinstance(theirs, dict)):
        return mine
    old = base if isinstance(base, dict) else {}
    absent = object()
    merged = {
        key: merge(old.get(key, absent), mine.get(key, absent), theirs.get(key, absent))
        for key in {**theirs, **mine}
    }
    return {key: value for key, value in merged.items() if value is not absent}


def _mine(organization: Organization, by: Actor) -> SettingsDraftQuerySet:
    return SettingsDraft.unscoped.at_work().filter(organization=organization, author_id=by.user_id)


def _lock_waiting(draft_id: str, by: Actor) -> SettingsDraft:
    draft = SettingsDraft.unscoped.select_for_update().filter(pk=draft_id).first()
    if draft is None or draft.organization_id != by.organization_id or draft.proposed_at is None:
        raise NotFound("There is no such draft")
    if draft.decided_at is not None:
        raise DraftDecided("Somebody has decided about it")
    return draft


def _require_current(draft: SettingsDraft, read_version: int) -> None:
    current = current_revision(draft.organization)
    if current is None or not draft.base_version == read_version == current.version:
        raise VersionConflict("Somebody saved these settings since you opened them")


def _decide(draft: SettingsDraft, *, by: Actor, version: int | None, at: datetime) -> None:
    draft.decided_at, draft.decided_by_id, draft.version = at, by.user_id, version
    draft.save(update_fields=["decided_at", "decided_by_id", "version"])


def _tell_others(draft: SettingsDraft) -> None:
    from orgs.tasks import tell_of_proposal

    others = Membership.unscoped.filter(
        organization_id=draft.organization_id, role__in=policy.ADMIN_ROLES
    ).exclude(user_id=draft.author_id)
    for user_id in others.order_by("user_id").values_list("user_id", flat=True):
        tell_of_proposal.delay(draft_id=draft.pk, user_id=user_id)


def _record(what: str, draft: SettingsDraft, *, by: Actor, note: str, at: datetime) -> None:
    audit.record(
        action=f"organization_settings.{what}",
        actor=by,
        target_kind="organization",
        target_id=draft.organization_id,
        after={"draft": draft.pk, "base": draft.base_version},
        note=note,
        at=at,
    )
