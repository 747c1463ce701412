"""Routes of this room."""

from django.urls import include, path

from orgs import (
    api,
    clerk,
    deletion_pages,
    domain_pages,
    draft_pages,
    invitation_pages,
    item_pages,
    marketplace,
    member_pages,
    pages,
    policy_pages,
    settings_pages,
    sign_on_pages,
)

urlpatterns = [
    path("api/extension-settings", api.ExtensionSettings.as_view()),
    path("api/organization-settings", api.LegacyOrganizationSettings.as_view()),
    path("api/marketplace/modes", marketplace.marketplace, {"kind": "mode"}),
    path("api/marketplace/mcps", marketplace.marketplace, {"kind": "mcp"}),
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
    path(
        "organizations/<str:organization_id>/single-sign-on",
        sign_on_pages.single_sign_on,
        name="single-sign-on",
    ),
    path("accounts/sign-on/", sign_on_pages.sign_on, name="sign-on"),
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
        "organizations/<str:organization_id>/settings/",
        include(
            [
                path("edit/<str:section>", policy_pages.settings_section, name="settings-section"),
                path("profile", policy_pages.settings_profile, name="settings-profile"),
                path("mcp", policy_pages.settings_mcp, name="settings-mcp"),
                path("preview", policy_pages.preview_settings, name="preview-settings"),
                path("text", settings_pages.settings_text, name="settings-text"),
                path("review", settings_pages.review, name="review-settings"),
                path("export", settings_pages.export_settings, name="export-settings"),
                path("approval", draft_pages.settings_approval, name="settings-approval"),
                path("drafts/<str:draft_id>", draft_pages.settings_draft, name="settings-draft"),
                path("<int:version>", settings_pages.settings_version, name="settings-version"),
                path("<int:version>/restore", settings_pages.roll_back, name="roll-back"),
            ]
        ),
    ),
    path(
        "organizations/<str:organization_id>/marketplace",
        item_pages.organization_marketplace,
        name="organization-marketplace",
    ),
    path(
        "organizations/<str:organization_id>/marketplace/new", item_pages.new_item, name="new-item"
    ),
    path(
        "organizations/<str:organization_id>/marketplace/<str:item_id>",
        item_pages.marketplace_item,
        name="marketplace-item",
    ),
    path("invitations/<str:secret>", invitation_pages.invitation, name="invitation"),
]
