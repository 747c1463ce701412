"""Events and backfills in the admin."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.actors import web_actor
from roocloud.lib.admin import ReadOnlyAdmin
from telemetry import actions
from telemetry.models import Backfill, Event


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin[Event]):
    list_display = ("received_at", "type", "user_id", "organization_id", "task_id")
    search_fields = ("=user_id", "=organization_id", "=task_id", "=type")
    list_filter = ("received_at",)
    ordering = ("-received_at", "id")


@admin.register(Backfill)
class BackfillAdmin(ReadOnlyAdmin[Backfill]):
    list_display = ("received_at", "id", "user_id", "state", "attempts", "message_count", "error")
    list_filter = ("state",)
    search_fields = ("=id", "=user_id", "=task_pk")
    date_hierarchy = "received_at"
    ordering = ("-received_at", "id")
    exclude = ("body",)
    actions = ("replay",)

    @admin.action(description="Run the chosen backfills again", permissions=["act"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Backfill]) -> None:
        for job in queryset:
            actions.replay(job=job, by=web_actor(request), at=timezone.now())
        self.message_user(request, "They run again.", messages.SUCCESS)
