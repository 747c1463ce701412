"""What of this room is about a person (L3)."""

from audit.models import Entry
from roocloud.lib import personal


def declare() -> None:
    personal.kept(
        Entry, "actor_id", "at", "action", "network", "organization_id", "target_kind",
        "target_id", "before", "after", "note",
        reason="what was done stays accountable; the database refuses changes",
    )  # fmt: skip
