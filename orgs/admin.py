"""Organizations in the admin: to look at; settings are changed by the rule alone."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from orgs.models import Invitation, Membership, Organization, SettingsRevision
from roocloud.lib.admin import ReadOnlyAdmin


class MembershipInline(admin.TabularInline[Membership, Organization]):
    model = Membership
    extra = 0
    can_delete = False
    fields = readonly_fields = ("user", "role", "created_at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Organization)
class OrganizationAdmin(ReadOnlyAdmin[Organization]):
    list_display = ("name", "slug", "id", "created_at")
    search_fields = ("name", "slug", "=id")
    date_hierarchy = "created_at"
    ordering = ("name", "id")
    inlines = (MembershipInline,)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin[Membership]):
    list_display = ("user", "organization", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "organization")
    search_fields = ("=user__email", "organization__name")
    ordering = ("-created_at", "id")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin[Invitation]):
    list_display = ("email", "organization", "role", "created_at", "accepted_at", "revoked_at")
    list_filter = ("role",)
    list_select_related = ("organization",)
    search_fields = ("=email", "organization__name")
    exclude = ("token_hash",)
    ordering = ("-created_at", "id")


@admin.register(SettingsRevision)
class SettingsRevisionAdmin(ReadOnlyAdmin[SettingsRevision]):
    list_display = ("version", "organization", "user", "made_by_id", "made_at", "note")
    list_select_related = ("organization", "user")
    search_fields = ("=organization__id", "organization__name", "=made_by_id", "note")
    date_hierarchy = "made_at"
    ordering = ("-version",)
