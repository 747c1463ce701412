from django.contrib import admin

from audit.models import Entry
from roocloud.lib.admin import ReadOnlyAdmin


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin[Entry]):
    list_display = ("at", "action", "actor_id", "target_kind", "target_id", "organization_id")
    list_filter = ("action", "target_kind", "actor_kind")
    search_fields = ("=actor_id", "=target_id", "=organization_id", "action")
    date_hierarchy = "at"
    ordering = ("-at", "id")
