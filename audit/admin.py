from django.contrib import admin

from audit.models import Check, Entry, Link, Loose
from roocloud.lib.admin import ReadOnlyAdmin


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin[Entry]):
    list_display = ("at", "action", "actor_id", "target_kind", "target_id", "organization_id")
    list_filter = ("action", "target_kind", "actor_kind")
    search_fields = ("=actor_id", "=target_id", "=organization_id", "action")
    date_hierarchy = "at"
    ordering = ("-at", "id")


@admin.register(Link)
class LinkAdmin(ReadOnlyAdmin[Link]):
    list_display = ("sequence", "entry_id", "digest", "fault", "linked_at")
    list_filter = ("linked_at", ("fault", admin.EmptyFieldListFilter))
    search_fields = ("=entry_id", "=digest", "=sequence")
    ordering = ("-sequence",)


@admin.register(Loose)
class LooseAdmin(ReadOnlyAdmin[Loose]):
    """Entries that are linked in a few seconds, if the worker runs."""

    list_display = ("id", "entry_id")
    search_fields = ("=entry_id",)
    ordering = ("-id",)
    fields = ("entry_id",)


@admin.register(Check)
class CheckAdmin(ReadOnlyAdmin[Check]):
    list_display = ("at", "is_intact", "links", "digest", "fault")
    list_filter = ("is_intact",)
    search_fields = ("=digest", "fault")
    date_hierarchy = "at"
    ordering = ("-at", "-id")
