"""What follows here from what happened in the rooms below."""

from datetime import datetime

from accounts.actors import Actor
from bridge.devices import registry


def remove_devices(*, user_id: str, by: Actor | None, at: datetime, **_later: object) -> None:
    """Who is signed out everywhere has no devices any more."""
    registry.remove_all(user_id=user_id, by=by, at=at)
