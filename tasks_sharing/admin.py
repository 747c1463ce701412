"""Tasks in the admin: figures and links, not conversations."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.actors import web_actor
from roocloud.lib.admin import ReadOnlyAdmin
from roocloud.lib.money import format_usd
from tasks_sharing import actions
from tasks_sharing.imports.actions import cancel_import
from tasks_sharing.models import Import, Message, Share, Task


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin[Task]):
    list_display = ("task_id", "owner", "organization", "status", "model", "cost", "created_at")
    list_filter = ("status", "created_at")
    list_select_related = ("owner", "organization")
    search_fields = ("=task_id", "=owner__email", "repository_name")
    ordering = ("-created_at", "id")
    exclude = ("title", "title_ts")

    @admin.display(ordering="cost_nanos")
    def cost(self, task: Task) -> str:
        return format_usd(task.cost_nanos)


class TypeFilter(admin.SimpleListFilter):
    """The two there are; asking the largest table for them would read all of it."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("ask", "ask"), ("say", "say")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> QuerySet[Message]:
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin[Message]):
    list_display = ("id", "task_key", "type", "kind", "ts")
    list_filter = (TypeFilter,)
    list_select_related = ("task",)
    search_fields = ("=task__task_id",)
    ordering = ("-id",)
    fields = ("task_key", "type", "kind", "ts")
    readonly_fields = fields

    @admin.display(description="task")
    def task_key(self, message: Message) -> str:
        return message.task.task_id


@admin.register(Share)
class ShareAdmin(ReadOnlyAdmin[Share]):
    list_display = ("id", "task_key", "visibility", "created_at", "expires_at", "revoked_at")
    list_filter = ("visibility",)
    list_select_related = ("task",)
    search_fields = ("=id", "=task__task_id", "=made_by_id")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "id")
    exclude = ("token_hash", "sealed_token", "task")
    actions = ("revoke",)

    @admin.display(description="task")
    def task_key(self, share: Share) -> str:
        return share.task.task_id

    @admin.action(description="Revoke the chosen links", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Share]) -> None:
        for share in queryset.select_related("task"):
            actions.revoke_share(share=share, by=web_actor(request), at=timezone.now())
        self.message_user(request, "The links do not work any more.", messages.SUCCESS)


@admin.register(Import)
class ImportAdmin(ReadOnlyAdmin[Import]):
    list_display = ("started_at", "id", "owner", "organization", "state", "total", "error")
    list_filter = ("state",)
    list_select_related = ("owner", "organization")
    search_fields = ("=id", "=owner__email")
    date_hierarchy = "started_at"
    ordering = ("-started_at", "id")
    exclude = ("upload",)
    actions = ("cancel",)

    @admin.action(description="Cancel the chosen imports", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Import]) -> None:
        for run in queryset:
            cancel_import(run=run, by=web_actor(request), at=timezone.now())
        self.message_user(request, "They stop after the task that they are at.", messages.SUCCESS)
