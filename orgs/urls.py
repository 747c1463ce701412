"""Routes of this room."""

from django.urls import path

from orgs import (
    api,
    clerk,
    deletion_pages,
    domain_pages,
    invitation_pages,
    member_pages,
    pages,
    settings_pages,
)

urlpatterns = [
    path("api/extension-settings", api.ExtensionSettings.as_view()),
    path("api/organization-settings", api.LegacyOrganizationSettings.as_view()),
    path("v1/me/organization_memberships", clerk.Memberships.as_view()),
    path("v1/organizations/<str:organization_id>", clerk.OrganizationRecord.as_view()),
    path("organizations", pages.organizations, name="organizations"),
    path("organizations/<str:organization_id>", pages.organization, name="organization"),
    path(
        "organizations/<str:organization_id>/invitations",
        invitation_pages.invite,
        name="organization-invitations",
    ),
    path(
        "organizations/<str:organization_id>/invitations/<str:invitation_id>/link",
        invitation_pages.new_invitation_link,
        name="new-invitation-link",
    ),
    path(
        "organizations/<str:organization_id>/invitations/<str:invitation_id>/revoke",
        invitation_pages.revoke_invitation,
        name="revoke-invitation",
    ),
    path("organizations/<str:organization_id>/general", pages.general, name="organization-general"),
    path(
        "organizations/<str:organization_id>/delete",
        deletion_pages.delete,
        name="delete-organization",
    ),
    path(
        "organizations/<str:organization_id>/export",
        deletion_pages.export,
        name="export-organization",
    ),
    path("organizations/<str:organization_id>/domains", domain_pages.domains, name="domains"),
    path(
        "organizations/<str:organization_id>/domains/<str:domain_id>",
        domain_pages.domain,
        name="domain",
    ),
    path("organizations/<str:organization_id>/logo", pages.logo, name="organization-logo"),
    path(
        "organizations/<str:organization_id>/members/<str:user_id>",
        member_pages.member,
        name="member",
    ),
    path(
        "organizations/<str:organization_id>/members/<str:user_id>/remove",
        member_pages.remove_member,
        name="remove-member",
    ),
    path(
        "organizations/<str:organization_id>/members/<str:user_id>/hand-over",
        member_pages.hand_over,
        name="hand-over",
    ),
    path(
        "organizations/<str:organization_id>/remote-control",
        pages.remote_control,
        name="organization-remote-control",
    ),
    path(
        "organizations/<str:organization_id>/settings",
        settings_pages.organization_settings,
        name="organization-settings",
    ),
    path(
        "organizations/<str:organization_id>/settings/<int:version>/restore",
        settings_pages.roll_back,
        name="roll-back",
    ),
    path("invitations/<str:secret>", invitation_pages.invitation, name="invitation"),
]
