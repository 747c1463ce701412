"""Reads for other rooms and for pages."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from django.db.models import Max
from django.utils import timezone

from accounts import invitations, memberships, single_sign_on
from accounts import queries as people_of
from accounts.actors import Actor
from orgs import documents, sign_on
from orgs.actions import personal_revision
from orgs.models import (
    Domain,
    Invitation,
    Membership,
    Organization,
    Role,
    SettingsRevision,
    SingleSignOn,
)
from orgs.policy import ADMIN_ROLES, RemotePolicy
from roocloud.lib import caching

_DOCUMENT_CACHED_S = 3600
_FETCH_REMEMBERED_S = 30 * 24 * 3600


class Memberships:
    """Answers accounts.memberships."""

    def role_of(
        self, *, user_id: str, organization_id: str, signed_on: frozenset[str] | None
    ) -> str | None:
        """One query, where the organization asks for no single sign-on."""
        rows = Membership.unscoped.filter(user_id=user_id, organization_id=organization_id)
        found = rows.values_list("role", "organization__single_sign_on__is_required").first()
        role, is_asked = found or (None, False)
        if is_asked and signed_on is not None:
            claim = (user_id, organization_id, signed_on)
            return None if self.unproven([claim]) else role
        return role

    def unproven(self, claims: Iterable[memberships.Claim]) -> Set[memberships.Claim]:
        return sign_on.unproven(set(claims))

    def roles(self, pairs: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
        asked = set(pairs)
        if not asked:
            return {}
        rows = Membership.unscoped.filter(
            user_id__in={user_id for user_id, _ in asked},
            organization_id__in={organization_id for _, organization_id in asked},
        ).values_list("user_id", "organization_id", "role")
        return {(user, organization): role for user, organization, role in rows}

    def of(self, *, user_id: str) -> Sequence[memberships.Membership]:
        rows = (
            Membership.unscoped.filter(user_id=user_id)
            .order_by("organization__name", "pk")
            .values_list(
                "organization_id",
                "organization__name",
                "role",
                "organization__single_sign_on__is_required",
            )
        )
        return [
            memberships.Membership(pk, name, role, asks_sign_on=bool(is_asked))
            for pk, name, role, is_asked in rows
        ]

    def administers(self, role: str | None) -> bool:
        return role in ADMIN_ROLES


def admin_ids(organization_id: str) -> Sequence[str]:
    """Ids of the people who administer an organization."""
    rows = Membership.unscoped.filter(
        organization_id=organization_id, role__in=(Role.OWNER, Role.ADMIN)
    )
    return list(rows.order_by("user_id").values_list("user_id", flat=True))


def remote_policies(organization_ids: Iterable[str]) -> dict[str, RemotePolicy]:
    """What each of the organizations allows with its members' editors. One query."""
    rows = Organization.unscoped.filter(pk__in=set(organization_ids))
    return {
        pk: RemotePolicy(is_on, admins_watch=is_on and may_watch)
        for pk, is_on, may_watch in rows.values_list("pk", "remote_control", "remote_watching")
    }


def watched_organizations(user_id: str) -> list[str]:
    """Names of the person's organizations whose owners and admins may watch their editors."""
    rows = Organization.unscoped.filter(
        memberships__user_id=user_id, remote_control=True, remote_watching=True
    )
    return list(rows.order_by("name", "pk").values_list("name", flat=True))


def member_ids(organization_id: str) -> set[str]:
    """Ids of everybody in an organization."""
    rows = Membership.unscoped.filter(organization_id=organization_id)
    return set(rows.values_list("user_id", flat=True))


def people(organization_id: str) -> list[tuple[str, str]]:
    """(id, name and address) of each member, by name."""
    rows = Membership.unscoped.filter(organization_id=organization_id).select_related("user")
    named = [(row.user_id, f"{row.user.name} ({row.user.email})") for row in rows]
    return sorted(named, key=lambda found: (found[1].casefold(), found[0]))


class Invitations:
    """Answers accounts.invitations."""

    def offer(self, *, token_hash: str) -> invitations.Offer | None:
        rows = Invitation.unscoped.live(timezone.now()).filter(token_hash=token_hash)
        found = rows.values_list("email", "domain").first()
        return invitations.Offer(*found) if found else None


class SingleSignOns:
    """Answers accounts.single_sign_on."""

    def connection(self, provider_id: str) -> single_sign_on.Connection | None:
        organization_id = provider_id.removeprefix(single_sign_on.PREFIX)
        row = (
            SingleSignOn.unscoped.filter(organization_id=organization_id)
            .select_related("organization")
            .first()
        )
        if row is None:
            return None
        domains = Domain.unscoped.verified().filter(organization_id=row.organization_id)
        return single_sign_on.Connection(
            provider_id=provider_id,
            name=row.organization.name[:40],
            issuer=row.issuer,
            client_id=row.client_id,
            secret=row.secret(),
            domains=frozenset(domains.values_list("name", flat=True)),
        )


def verified_domain_ids() -> list[str]:
    return list(Domain.unscoped.verified().order_by("pk").values_list("pk", flat=True))


def invitations_to(actor: Actor, *, at: datetime) -> list[tuple[str, datetime]]:
    """(organization, until when) of the invitations to addresses that the actor has verified. Their
    links are in the mails alone, which is what proves the address (B7). Two queries."""
    emails = people_of.verified_emails(actor.user_id)
    rows = Invitation.unscoped.live(at).filter(email__in=emails)
    rows = rows.exclude(organization__memberships__user_id=actor.user_id)
    return list(rows.order_by("expires_at", "pk").values_list("organization__name", "expires_at"))


def note_fetch(actor: Actor, *, at: datetime) -> None:
    """That an editor fetched its settings, for the check of a connection."""
    caching.remember(_fetched(actor), at.isoformat(), seconds=_FETCH_REMEMBERED_S)


def last_fetch(actor: Actor) -> datetime | None:
    """When an editor of the actor last fetched settings that were new to it, within a month. None
    also after the end of a cache that lived in one process."""
    known: str | None = caching.recall(_fetched(actor))
    return datetime.fromisoformat(known) if known else None


def _fetched(actor: Actor) -> str:
    return f"orgs.settings.fetched.{actor.user_id}"


def settings_version(actor: Actor, *, at: datetime) -> int:
    """The version in force for the actor's context. One query for an organization."""
    if actor.organization_id is None:
        return personal_revision(user_id=actor.user_id, at=at).version
    version = (
        SettingsRevision.unscoped.filter(organization_id=actor.organization_id)
        .order_by("-version")
        .values_list("version", flat=True)
        .first()
    )
    if version is None:
        raise LookupError("an organization without settings")
    return version


def settings_document(version: int) -> dict[str, Any]:
    """The JSON of a version, as clients read it. Cached by version, which never changes meaning."""
    key = f"orgs.settings.{version}"
    document: dict[str, Any] | None = caching.recall(key)
    if document is None:
        row = SettingsRevision.unscoped.only("document").get(pk=version)
        document = {"version": version, **row.document}
        caching.remember(key, document, seconds=_DOCUMENT_CACHED_S)
    return document


def organization_settings(actor: Actor) -> documents.OrganizationSettings:
    """The settings in force for the actor's context now; for a personal account the default."""
    return settings_of(actor.organization_id)


def settings_of(organization_id: str | None) -> documents.OrganizationSettings:
    """The settings in force for a context, whoever asks; None means personal."""
    if organization_id is None:
        return documents.DEFAULT
    row = (
        SettingsRevision.unscoped.filter(organization_id=organization_id)
        .order_by("-version")
        .only("document")
        .first()
    )
    if row is None:
        raise LookupError("an organization without settings")
    return documents.load(row.document)


def clouds_of(organization_ids: Iterable[str]) -> dict[str, documents.CloudSettings]:
    """The settings of sharing and visibility that are in force in each organization. One query."""
    newest = (
        SettingsRevision.unscoped.filter(organization_id__in=set(organization_ids))
        .values("organization_id")
        .annotate(newest=Max("version"))
        .values("newest")
    )
    rows = SettingsRevision.unscoped.filter(version__in=newest)
    found = rows.values_list("organization_id", "document")
    return {pk: documents.load(document).cloud for pk, document in found if pk}


#: Versions that settled_since() looks at.
_MAX_LOOKED_AT = 200


def settled_since(
    organization_id: str, holds: Callable[[documents.OrganizationSettings], bool]
) -> datetime | None:
    """Since when the settings of an organization have been so that ``holds`` is true of them; None
    if it is not true of those in force. Of settings that were changed very often, no earlier than
    the oldest version that is looked at."""
    since = None
    rows = SettingsRevision.unscoped.filter(organization_id=organization_id).order_by("-version")
    for row in rows.only("document", "made_at")[:_MAX_LOOKED_AT].iterator(chunk_size=20):
        if not holds(documents.load(row.document)):
            break
        since = row.made_at
    return since
