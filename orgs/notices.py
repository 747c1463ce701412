"""Mail to the people of an organization."""

from datetime import datetime

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from orgs import actions
from orgs.models import Membership, Role, SettingsDraft, SettingsRevision

#: Parts of the settings that decide what runs on members' computers (O1).
WATCHED = ("mcps", "providerProfiles", "allowList")


def send_invitation(*, invitation_id: str, at: datetime) -> None:
    """Mail an invitation to its address, with a link made for this mail. A second call does nothing
    once the first has sent it."""
    found = actions.secret_to_mail(invitation_id=invitation_id, at=at)
    if found is None:
        return
    invitation, secret = found
    by = get_user_model().objects.filter(pk=invitation.made_by_id).first()
    context = {
        "invitation": invitation,
        "organization": invitation.organization,
        "by": f"{by.name} ({by.email})" if by else "Somebody",
        "product": settings.ROOCLOUD_PRODUCT_NAME,
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('invitation', args=[secret])}",
    }
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}Join {invitation.organization.name}",
        render_to_string("orgs/mail/invitation.txt", context),
        None,
        [invitation.email],
    )
    actions.note_mailed(invitation=invitation, secret=secret, at=at)


def tell_of_settings(*, version: int, user_id: str) -> None:
    """Mail one owner what a revision changed. Nothing is sent to who is no owner any more."""
    member = (
        Membership.unscoped.filter(
            organization__revisions=version, user_id=user_id, role=Role.OWNER
        )
        .select_related("organization", "user")
        .first()
    )
    if member is None:
        return
    revision = SettingsRevision.unscoped.get(pk=version)
    before = SettingsRevision.unscoped.get(version=revision.previous_version or 0)
    by = get_user_model().objects.filter(pk=revision.made_by_id).first()
    path = reverse("organization-settings", args=[member.organization_id])
    context = {
        "organization": member.organization,
        "by": f"{by.name} ({by.email})" if by else "Somebody whose account is gone",
        "changed": [
            key for key in WATCHED if before.document.get(key) != revision.document.get(key)
        ],
        "note": revision.note,
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}{path}",
    }
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}Settings of {member.organization.name} changed",
        render_to_string("orgs/mail/settings_changed.txt", context),
        None,
        [member.user.email],
    )


def tell_of_deletion(*, organization_id: str, user_id: str, what: str) -> None:
    """Mail an owner or admin. what: ``asked`` or ``taken_back``. Nothing is sent about what is not
    so any more."""
    member = (
        Membership.unscoped.filter(
            organization=organization_id, user_id=user_id, role__in=(Role.OWNER, Role.ADMIN)
        )
        .select_related("organization", "user")
        .first()
    )
    if member is None or (member.organization.deletion_due_at is None) == (what == "asked"):
        return
    by = get_user_model().objects.filter(pk=member.organization.deletion_asked_by_id).first()
    path = reverse("delete-organization", args=[organization_id])
    context = {
        "organization": member.organization,
        "is_asked": what == "asked",
        "by": f"{by.name} ({by.email})" if by else "An owner",
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}{path}",
    }
    subject = "is to be deleted" if what == "asked" else "stays"
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{member.organization.name} {subject}",
        render_to_string("orgs/mail/deletion.txt", context),
        None,
        [member.user.email],
    )


def tell_of_proposal(*, draft_id: str, user_id: str) -> None:
    """Mail one owner or admin of settings that wait for approval. Nothing is sent about what is
    decided by now, nor to who administers the organization no more."""
    draft = SettingsDraft.unscoped.waiting().filter(pk=draft_id).first()
    member = (
        Membership.unscoped.filter(
            organization__drafts=draft_id, user_id=user_id, role__in=[Role.OWNER, Role.ADMIN]
        )
        .select_related("organization", "user")
        .first()
    )
    if draft is None or member is None:
        return
    by = get_user_model().objects.filter(pk=draft.author_id).first()
    path = reverse("settings-draft", args=[member.organization_id, draft.pk])
    context = {
        "organization": member.organization,
        "by": f"{by.name} ({by.email})" if by else "Somebody whose account is gone",
        "note": draft.note,
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}{path}",
    }
    name = member.organization.name
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}Settings of {name} wait for approval",
        render_to_string("orgs/mail/settings_proposed.txt", context),
        None,
        [member.user.email],
    )
