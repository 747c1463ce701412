"""Editors and commands in the admin: to look at. No page shows a token or what a command says."""

from django.contrib import admin

from bridge.models import BridgeToken, Command, Instance
from roocloud.lib.admin import ReadOnlyAdmin


@admin.register(Instance)
class InstanceAdmin(ReadOnlyAdmin[Instance]):
    list_display = ("last_seen_at", "owner", "host", "workspace_path", "task_status", "ended_at")
    list_filter = ("last_seen_at", "task_status")
    list_select_related = ("owner",)
    search_fields = ("=owner__email", "=instance_id", "=host", "=task_id")
    date_hierarchy = "last_seen_at"
    ordering = ("-last_seen_at", "id")
    exclude = ("snapshot",)  # it holds the prompt


@admin.register(Command)
class CommandAdmin(ReadOnlyAdmin[Command]):
    list_display = ("given_at", "sender", "kind", "instance_id", "task_id", "state", "reason")
    list_filter = ("state", "kind", "given_at")
    list_select_related = ("sender",)
    search_fields = ("=sender__email", "=id", "=instance_id", "=task_id")
    date_hierarchy = "given_at"
    ordering = ("-given_at", "id")
    exclude = ("payload",)


@admin.register(BridgeToken)
class BridgeTokenAdmin(ReadOnlyAdmin[BridgeToken]):
    list_display = ("last_used_at", "user", "organization_id", "created_at")
    list_filter = ("last_used_at",)
    list_select_related = ("user",)
    search_fields = ("=user__email", "=organization_id")
    ordering = ("-last_used_at", "id")
    exclude = ("token_hash",)
