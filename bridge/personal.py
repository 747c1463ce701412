"""What of this room is about a person (L3)."""

from bridge.devices.models import Device, Pairing, QueuedCommand
from bridge.models import BridgeToken, Command, Instance, Watcher
from roocloud.lib import personal


def declare() -> None:
    personal.owned(BridgeToken, "user", "organization_id", "created_at", "last_used_at")
    personal.owned(
        Instance, "owner", "host", "workspace_path", "task_id", "snapshot", "first_seen_at",
        "last_seen_at",
    )  # fmt: skip
    personal.owned(
        Command, "sender", "kind", "task_id", "device", "state", "reason", "given_at", "host",
        "workspace_path", "payload",
    )  # fmt: skip
    personal.owned(
        Device, "owner", "device_id", "name", "kind", "platform", "capabilities", "public_key",
        "created_at", "last_seen_at",
    )  # fmt: skip
    personal.owned(Watcher, "viewer", "instance__instance_id", "began_at", "last_seen_at")
    personal.owned(Pairing, "user", reason="a code that is good for a minute")
    personal.owned(QueuedCommand, "owner", "kind", "task_id", "payload", "state", "given_at")
