"""Carrying out what accounts.erasure was asked for, bit by bit (L3)."""

import logging
from datetime import datetime, timedelta

from django.db import transaction

from accounts import actions
from accounts.models import Erasure
from audit import actions as audit
from roocloud.lib import personal

logger = logging.getLogger(__name__)


def due(*, at: datetime) -> list[str]:
    """Ids of the people whose week is over, and of those whose erasure was cut short."""
    rows = Erasure.unscoped.filter(due_at__lte=at, done_at=None).order_by("due_at", "pk")
    return list(rows.values_list("pk", flat=True)[:100])


def carry_out(*, user_id: str, at: datetime) -> bool:
    """Delete what is theirs, and leave amounts under a name that says nothing. Safe to call again
    after it was cut short. False if something stands in the way since: it waits for another day.
    """
    begun = Erasure.unscoped.filter(pk=user_id, done_at=None, due_at__lte=at)
    if not begun.exists():
        return False
    if begun.filter(began_at=None).exists() and personal.obstacles(user_id):
        logger.warning("An erasure waits for somebody else", extra={"user": user_id})
        begun.update(due_at=at + timedelta(days=1))
        return False
    begun.filter(began_at=None).update(began_at=at)
    # First of all nobody acts as them any more.
    actions.deactivate(user_id=user_id, at=at)
    actions.end_browsers(user_id=user_id, except_key=None)
    # Upper rooms before the lower ones that they look things up in; the person's own row at last.
    for holding in reversed(personal.holdings()):
        if holding.erase is not None:
            holding.erase(user_id)
    with transaction.atomic():
        begun.update(done_at=at)
        audit.record(action="user.erased", actor=None, target_kind="user", target_id=user_id, at=at)
    return True
