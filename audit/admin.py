from django.contrib import admin
from django.http import HttpRequest

from audit.models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin[Entry]):
    """To look; nobody changes the trail."""

    list_display = ["at", "action", "actor_id", "target_kind", "target_id", "organization_id"]
    list_filter = ["action", "target_kind", "actor_kind"]
    search_fields = ["=actor_id", "=target_id", "=organization_id", "action"]
    date_hierarchy = "at"
    ordering = ["-at", "id"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        return False
