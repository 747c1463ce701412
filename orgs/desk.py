"""What the pages of an organization's settings share: the version in force, and what somebody has
changed and not saved yet."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.signing import Signer
from django.http import Http404, HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.actors import Actor
from orgs import actions
from orgs.models import Organization, SettingsDraft, SettingsRevision
from orgs.pages import enter_as_admin
from roocloud.lib import wire


@dataclass
class Desk:
    """Of one admin of an organization. current: the revision in force. draft: what the admin has
    changed, if anything."""

    actor: Actor
    organization: Organization
    current: SettingsRevision
    draft: SettingsDraft | None

    @property
    def document(self) -> dict[str, Any]:
        """What the pages edit."""
        document: dict[str, Any] = (self.draft or self.current).document
        return document

    @property
    def read_version(self) -> int:
        return self.draft.base_version if self.draft else self.current.version

    @property
    def is_stale(self) -> bool:
        """Whether somebody saved since the draft was begun."""
        return self.read_version != self.current.version

    @cached_property
    def waiting(self) -> list[SettingsDraft]:
        """Proposals that wait for a decision, the oldest first."""
        rows = SettingsDraft.objects.visible_to(self.actor).filter(organization=self.organization)
        return list(rows.waiting().order_by("proposed_at", "pk"))

    def started_from(self, read_version: int) -> dict[str, Any]:
        """The document that a page of that version showed; 404 for no version of this one."""
        if self.draft or read_version == self.current.version:
            return self.document
        rows = SettingsRevision.unscoped.filter(organization=self.organization)
        found = rows.filter(pk=read_version).first()
        if found is None:
            raise Http404
        document: dict[str, Any] = found.document
        return document


def desk(request: HttpRequest, organization_id: str) -> Desk:
    """The desk of who asks. 404 for strangers; raises Forbidden for members who are no admins."""
    actor, found = enter_as_admin(request, organization_id)
    drafts = SettingsDraft.objects.visible_to(actor).at_work()
    draft = drafts.filter(organization=found, author_id=actor.user_id).first()
    return Desk(actor, found, current(found), draft)


def current(organization: Organization) -> SettingsRevision:
    """The revision in force."""
    found = actions.current_revision(organization)
    if found is None:
        raise LookupError("an organization without settings")
    return found


def seal(actor: Actor, organization: Organization, read_version: int, document: Any) -> str:
    """Proof that this person was shown what ``document`` changes in ``read_version`` (O1)."""
    shown = wire.dumps([actor.user_id, organization.pk, read_version, document])
    return Signer(salt="orgs.settings.preview").signature(shown)


def was_shown(
    given: str, actor: Actor, organization: Organization, read_version: int, document: Any
) -> bool:
    return constant_time_compare(given, seal(actor, organization, read_version, document))
