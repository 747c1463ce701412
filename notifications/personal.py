"""What of this room is about a person (L3)."""

from notifications.models import Notice, Preferences, Subscription
from roocloud.lib import personal


def declare() -> None:
    personal.owned(Preferences, "user", "time_zone", "quiet_from", "quiet_until", "updated_at")
    personal.owned(Subscription, "user", "label", "created_at", "reached_at")
    personal.owned(Notice, "user", "kind", "title", "text", "path", "silence", "made_at")
