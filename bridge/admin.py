"""Editors and commands in the admin: to look at. No page shows a token or what a command says."""

from django.contrib import admin

from bridge.devices.models import Device, Pairing, QueuedCommand
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
    exclude = ("payload", "fingerprint")


@admin.register(BridgeToken)
class BridgeTokenAdmin(ReadOnlyAdmin[BridgeToken]):
    list_display = ("last_used_at", "user", "organization_id", "created_at")
    list_filter = ("last_used_at",)
    list_select_related = ("user",)
    search_fields = ("=user__email", "=organization_id")
    ordering = ("-last_used_at", "id")
    exclude = ("token_hash",)


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin[Device]):
    list_display = ("created_at", "owner", "name", "kind", "platform", "last_seen_at", "revoked_at")
    list_filter = ("kind", "created_at")
    list_select_related = ("owner",)
    search_fields = ("=owner__email", "=device_id", "=id")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "id")
    exclude = ("token_hash", "refresh_hash", "previous_token_hash", "previous_refresh_hash")


@admin.register(Pairing)
class PairingAdmin(ReadOnlyAdmin[Pairing]):
    list_display = ("created_at", "user", "expires_at", "claimed_at", "device")
    list_filter = ("created_at",)
    list_select_related = ("user", "device")
    search_fields = ("=user__email",)
    ordering = ("-created_at", "id")
    exclude = ("code_hash",)


@admin.register(QueuedCommand)
class QueuedCommandAdmin(ReadOnlyAdmin[QueuedCommand]):
    list_display = ("given_at", "owner", "target", "kind", "task_id", "state", "retry_count")
    list_filter = ("state", "kind", "given_at")
    list_select_related = ("owner", "target")
    search_fields = ("=owner__email", "=key", "=target__device_id", "=task_id")
    date_hierarchy = "given_at"
    ordering = ("-given_at", "id")
    exclude = ("payload", "fingerprint")
