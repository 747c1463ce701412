"""Organizations in the admin: to look at; settings are changed by the rule alone. What the
marketplace offers is kept here."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from accounts.actors import web_actor
from orgs import actions as orgs
from orgs import items, texts
from orgs.forms import described
from orgs.models import (
    Domain,
    Invitation,
    MarketplaceItem,
    Membership,
    Organization,
    SettingsDraft,
    SettingsRevision,
    SingleSignOn,
)
from roocloud.lib.admin import ReadOnlyAdmin
from roocloud.lib.refusals import Refusal


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
    list_filter = ("created_at",)
    search_fields = ("name", "slug", "=id")
    date_hierarchy = "created_at"
    ordering = ("name", "id")
    inlines = (MembershipInline,)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin[Membership]):
    list_display = ("user", "organization", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "organization")
    date_hierarchy = "created_at"
    search_fields = ("=user__email", "organization__name")
    ordering = ("-created_at", "id")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin[Invitation]):
    list_display = ("email", "organization", "role", "created_at", "accepted_at", "revoked_at")
    list_filter = ("role",)
    list_select_related = ("organization",)
    date_hierarchy = "created_at"
    search_fields = ("=email", "organization__name")
    exclude = ("token_hash",)
    ordering = ("-created_at", "id")


class ItemForm(forms.ModelForm[MarketplaceItem]):
    """An item as the YAML that editors read."""

    text = forms.CharField(
        label="Item",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "cols": 80, "spellcheck": "false"}),
        help_text="YAML: id, name, description and content; an MCP server has a url as well, and a "
        "mode has none.",
    )

    class Meta:
        model = MarketplaceItem
        fields = ("is_for_everybody",)
        labels = {"is_for_everybody": "For everybody here"}
        help_texts = {
            "is_for_everybody": "Of an organization's item: released editors show no token when "
            "they ask for the marketplace, and see it only then. The deployment's own are for "
            "everybody."
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.document:
            self.initial["text"] = texts.write(self.instance.document, "yaml")

    def clean_text(self) -> items.Item:
        try:
            return items.parse(texts.read(self.cleaned_data["text"], "yaml"))
        except Refusal as refusal:
            raise forms.ValidationError(described(refusal)) from None

    def clean(self) -> dict[str, Any]:
        item = self.cleaned_data.get("text")
        place = self.instance.organization_id
        if item and place and item.kind == "mcp":
            self.add_error("text", "MCP servers of an organization are part of its settings.")
        elif item:
            rows = MarketplaceItem.unscoped.filter(organization_id=place, item_id=item.item_id)
            if rows.filter(kind=item.kind).exclude(pk=self.instance.pk).exists():
                self.add_error("text", "There is another item with this id.")
        return self.cleaned_data


@admin.register(MarketplaceItem)
class MarketplaceItemAdmin(admin.ModelAdmin[MarketplaceItem]):
    form = ItemForm
    list_display = ("name", "kind", "item_id", "organization", "is_for_everybody", "changed_at")
    list_filter = ("kind", "is_for_everybody")
    list_select_related = ("organization",)
    show_full_result_count = False
    date_hierarchy = "changed_at"
    search_fields = ("name", "=item_id", "organization__name")
    ordering = ("name", "id")
    actions = None

    def save_model(
        self,
        request: HttpRequest,
        obj: MarketplaceItem,
        form: Any,
        change: bool,  # noqa: FBT001 - Django's own signature
    ) -> None:
        by, at = web_actor(request), timezone.now()
        found = orgs.put_item(
            organization=obj.organization if change else None,
            item=form.cleaned_data["text"],
            by=by,
            at=at,
            row=obj if change else None,
        )
        orgs.offer_to_everybody(
            row=found, is_offered=form.cleaned_data["is_for_everybody"], by=by, at=at
        )
        obj.pk = found.pk  # of a new one, for the admin's own log

    def delete_model(self, request: HttpRequest, obj: MarketplaceItem) -> None:
        orgs.remove_item(row=obj, by=web_actor(request), at=timezone.now())


@admin.register(SettingsDraft)
class SettingsDraftAdmin(ReadOnlyAdmin[SettingsDraft]):
    list_display = ("id", "organization", "author_id", "note", "proposed_at", "decided_at")
    list_select_related = ("organization",)
    list_filter = (
        ("proposed_at", admin.EmptyFieldListFilter),
        ("decided_at", admin.EmptyFieldListFilter),
    )
    date_hierarchy = "changed_at"
    search_fields = ("=organization__id", "organization__name", "=author_id", "note")
    ordering = ("-changed_at", "id")


@admin.register(SettingsRevision)
class SettingsRevisionAdmin(ReadOnlyAdmin[SettingsRevision]):
    list_display = ("version", "organization", "user", "made_by_id", "made_at", "note")
    list_select_related = ("organization", "user")
    list_filter = (("organization", admin.EmptyFieldListFilter), "made_at")
    search_fields = ("=organization__id", "organization__name", "=made_by_id", "note")
    date_hierarchy = "made_at"
    ordering = ("-version",)


@admin.register(Domain)
class DomainAdmin(ReadOnlyAdmin[Domain]):
    list_display = ("name", "organization", "joins", "verified_at", "checked_at", "missing_since")
    list_filter = (("verified_at", admin.EmptyFieldListFilter), "joins")
    list_select_related = ("organization",)
    search_fields = ("name", "=organization__id", "organization__name")
    date_hierarchy = "created_at"
    ordering = ("name", "id")
    exclude = ("token",)


@admin.register(SingleSignOn)
class SingleSignOnAdmin(ReadOnlyAdmin[SingleSignOn]):
    list_display = ("organization", "issuer", "client_id", "updated_at")
    list_filter = ("updated_at",)
    list_select_related = ("organization",)
    search_fields = ("issuer", "=organization__id", "organization__name")
    ordering = ("issuer", "organization")
    exclude = ("sealed_secret",)
