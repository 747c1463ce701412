"""What follows here from what happened in the rooms below."""

from datetime import datetime

from accounts.actors import Actor
from bridge import waiting
from bridge.devices import registry


def remove_devices(*, user_id: str, by: Actor | None, at: datetime, **_later: object) -> None:
    """Who is signed out everywhere has no devices any more, and nothing that waits for an editor:
    whoever gave it may have been somebody else."""
    registry.remove_all(user_id=user_id, by=by, at=at)
    waiting.cancel_given(by_person=user_id, reason="signed_out", at=at)
