"""What this room has of an organization (see orgs.estate): events and uploads, which go."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from django.db.models import Max

from accounts.actors import Actor
from telemetry.actions import forget_backfills
from telemetry.models import Event

#: Events are not found by organization, so all are looked through, this many at a time.
_WINDOW = 50_000


class Part:
    def files(self, actor: Actor, *, at: datetime) -> Iterable[tuple[str, Iterator[str]]]:
        """None: what events told is in the tasks and in the usage."""
        return ()

    def clear(self, organization_id: str, *, at: datetime) -> None:
        last = Event.unscoped.aggregate(last=Max("pk"))["last"] or 0
        for start in range(0, last, _WINDOW):
            Event.unscoped.filter(
                pk__gt=start, pk__lte=start + _WINDOW, organization_id=organization_id
            ).delete()
        forget_backfills(organization_id=organization_id)
