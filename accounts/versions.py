"""Version numbers of settings, unique across the whole deployment.

Clients compare versions for inequality only and keep their cache when they switch organizations, so
two documents anywhere must never share a number (protocol/settings.md §1, trap 15).
"""

from django.db import transaction
from django.db.models import F

from accounts.models import VersionCounter


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
    return VersionCounter.objects.values_list("value", flat=True).get(pk=1)
