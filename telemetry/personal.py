"""What of this room is about a person (L3)."""

from roocloud.lib import personal
from telemetry.models import Backfill, Event


def declare() -> None:
    personal.owned(
        Event, "user_id", "organization_id", "type", "task_id", "properties", "received_at"
    )
    personal.owned(Backfill, "user_id", "state", "message_count", "received_at")
