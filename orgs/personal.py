"""What of this room is about a person (L3)."""

from accounts import queries as people
from orgs.models import (
    Departure,
    Invitation,
    MarketplaceItem,
    Membership,
    Organization,
    Role,
    SettingsDraft,
    SettingsRevision,
    SingleSignOn,
)
from roocloud.lib import personal
from roocloud.lib.personal import Holding


def declare() -> None:
    personal.owned(
        Membership, "user", "organization_id", "organization__name", "role", "created_at"
    )
    personal.owned(Departure, "user", "organization_id", "organization__name", "at")
    personal.elsewhere(
        Organization, "deletion_asked_by_id", reason="the organization is its members'"
    )
    personal.owned(SettingsRevision, "user", "version", "document", "made_at", "note")
    for model, field in (
        (SettingsRevision, "made_by_id"),
        (SettingsRevision, "approved_by_id"),
        (SettingsDraft, "author_id"),
        (SettingsDraft, "decided_by_id"),
        (MarketplaceItem, "changed_by_id"),
    ):
        personal.elsewhere(model, field, reason="the settings are the organization's")
    personal.elsewhere(Invitation, "made_by_id", reason="the invitation is the organization's")
    personal.declare(
        Holding(Invitation, "email", None, _forget_invited, "what an organization wrote down")
    )
    personal.elsewhere(
        SingleSignOn, "break_glass_id", reason="who is gone is an owner no more, and exempt as none"
    )
    personal.obstacle(_last_owner)


def _forget_invited(user_id: str) -> None:
    """By any of their addresses."""
    Invitation.unscoped.filter(email__in=people.addresses(user_id)).delete()


def _last_owner(user_id: str) -> str | None:
    """O2"""
    owned = Membership.unscoped.filter(user_id=user_id, role=Role.OWNER)
    for membership in owned.select_related("organization"):
        others = Membership.unscoped.filter(
            organization_id=membership.organization_id, role=Role.OWNER, user__is_active=True
        ).exclude(user_id=user_id)
        if not others.exists():
            return f"{membership.organization.name} has no other owner: make somebody one first."
    return None
