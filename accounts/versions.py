"""Version numbers of settings, unique across the whole deployment.

Clients compare versions for inequality only and keep their cache when they switch organizations, so
two documents anywhere must never share a number (protocol/settings.md §1, trap 15).
"""

import threading
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from accounts.models import VersionCounter
from roocloud.lib.fresh import Fresh

#: Of any settings document. What another process gives out is noticed within this time.
_newest: Fresh[str, int] = Fresh(age=timedelta(seconds=1), size=1)
_KEY = "newest"
_looking = threading.Lock()


def next_version() -> int:
    """The next number; increasing and without gaps.

    Call it inside the transaction that stores what the number names: the counter row stays locked
    until then, and a rollback gives the number back.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("next_version() outside of a transaction would leave a gap")
    if not VersionCounter.objects.filter(pk=1).update(value=F("value") + 1):
        VersionCounter.objects.get_or_create(pk=1)
        VersionCounter.objects.filter(pk=1).update(value=F("value") + 1)
    transaction.on_commit(_newest.clear)
    return VersionCounter.objects.values_list("value", flat=True).get(pk=1)


def newest(*, at: datetime) -> int:
    """The last number that was given; up to a second old if another process gave it."""
    with _looking:  # of many threads that ask at the same time, one looks
        number = known_newest(at=at)
        if number is None:
            number = VersionCounter.objects.values_list("value", flat=True).filter(pk=1).first()
            _newest.put(_KEY, number or 0, at=at)
    return number or 0


def known_newest(*, at: datetime) -> int | None:
    """The same if it is known without a query."""
    return _newest.get(_KEY, at=at)
