"""People and their sign-ins in the admin. Secrets are hashes and never shown."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from accounts import actions, api_keys
from accounts.actors import web_actor
from accounts.models import (
    ApiKey,
    ClientSession,
    Erasure,
    SigningKey,
    User,
    UserSettings,
    UserSettingsRevision,
)
from roocloud.lib.admin import ReadOnlyAdmin


@admin.register(User)
class UserAdmin(admin.ModelAdmin[User]):
    list_display = ("email", "first_name", "last_name", "is_active", "is_staff", "date_joined")
    list_filter = ("is_active", "is_staff")
    show_full_result_count = False
    search_fields = ("email", "first_name", "last_name", "=id")
    date_hierarchy = "date_joined"
    ordering = ("email", "id")
    fields = ("id", "email", "first_name", "last_name", "is_active", "is_staff", "is_superuser",
              "last_login", "date_joined")  # fmt: skip
    readonly_fields = ("id", "email", "last_login", "date_joined")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Nobody makes more of anybody than they are themselves (A4)."""
        of_rights = () if request.user.is_superuser else ("is_staff", "is_superuser")
        return (*self.readonly_fields, *of_rights)

    def save_model(
        self,
        request: HttpRequest,
        obj: User,
        form: ModelForm[User],
        change: bool,  # noqa: FBT001 - Django's signature
    ) -> None:
        if form.changed_data:
            fields = {
                name: (form.initial[name], form.cleaned_data[name]) for name in form.changed_data
            }
            actions.change_user(user=obj, fields=fields, by=web_actor(request), at=timezone.now())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # `manage.py create_user`, an invitation, or the sign-up page

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # deactivate instead: ledger and audit rows name people


@admin.register(ClientSession)
class ClientSessionAdmin(ReadOnlyAdmin[ClientSession]):
    list_display = ("label", "kind", "user", "created_at", "last_seen_at", "ended_at")
    list_filter = ("kind",)
    list_select_related = ("user",)
    search_fields = ("=id", "=user__email", "label")
    date_hierarchy = "created_at"
    ordering = ("-last_seen_at", "id")
    exclude = ("client_token_hash",)
    actions = ("end",)

    @admin.action(description="End the chosen sessions", permissions=["act"])
    def end(self, request: HttpRequest, queryset: QuerySet[ClientSession]) -> None:
        for session in queryset:
            actions.end_session(session=session, by=web_actor(request), at=timezone.now())
        self.message_user(request, "The sessions have ended.", messages.SUCCESS)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin[ApiKey]):
    list_display = ("name", "last_four", "user", "organization_id", "created_at", "expires_at",
                    "last_used_at", "paused_at", "revoked_at")  # fmt: skip
    list_select_related = ("user",)
    list_filter = (
        ("revoked_at", admin.EmptyFieldListFilter),
        ("paused_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("=id", "=user__email", "=organization_id", "name", "=last_four")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "id")
    exclude = ("secret_hash", "previous_hash")
    actions = ("revoke",)

    @admin.action(description="Revoke the chosen API keys", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            api_keys.revoke_key(key=key, by=web_actor(request), at=timezone.now())
        self.message_user(request, "The keys are revoked.", messages.SUCCESS)


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin[SigningKey]):
    list_display = ("kid", "created_at", "retired_at")
    exclude = ("sealed_private_key",)
    list_filter = (("retired_at", admin.EmptyFieldListFilter),)
    search_fields = ("=kid",)
    date_hierarchy = "created_at"
    ordering = ("-created_at", "kid")


@admin.register(UserSettings)
class UserSettingsAdmin(ReadOnlyAdmin[UserSettings]):
    list_display = ("user", "version", "updated_at")
    list_select_related = ("user",)
    list_filter = ("updated_at",)
    date_hierarchy = "updated_at"
    search_fields = ("=user__email",)
    ordering = ("-version",)


@admin.register(UserSettingsRevision)
class UserSettingsRevisionAdmin(ReadOnlyAdmin[UserSettingsRevision]):
    list_display = ("version", "user", "previous_version", "made_at")
    list_select_related = ("user",)
    list_filter = ("made_at",)
    date_hierarchy = "made_at"
    search_fields = ("=user__email",)
    ordering = ("-version",)


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin[Erasure]):
    list_display = ("user", "asked_at", "due_at", "began_at", "done_at")
    list_filter = (("done_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("=user__email", "=user__id")
    date_hierarchy = "asked_at"
    ordering = ("-asked_at", "user")
