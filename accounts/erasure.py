"""A person asks to be forgotten (L3), and may take it back for a week. See accounts.forgetting."""

from datetime import datetime, timedelta

from django.db import transaction

from accounts.actors import Actor
from accounts.models import Erasure
from accounts.tasks import tell_of_erasure
from audit import actions as audit
from roocloud.lib import personal
from roocloud.lib.refusals import Conflict, NotFound

#: Between the asking and the doing.
WAITS = timedelta(days=7)


class Obstructed(Conflict):
    """Something of others' depends on the person."""

    code = "erasure_obstructed"


def pending(user_id: str) -> Erasure | None:
    """What a person asked for and was not begun yet."""
    return Erasure.unscoped.filter(pk=user_id, began_at=None).first()


def ask(*, by: Actor, at: datetime) -> Erasure:
    """Have everything of the person deleted in a week, and tell them by mail. Asked twice, it is
    due when it was first.

    Raises Obstructed with what they have to do before.
    """
    if obstacles := personal.obstacles(by.user_id):
        raise Obstructed(" ".join(obstacles))
    with transaction.atomic():
        row, is_new = Erasure.unscoped.get_or_create(
            pk=by.user_id, defaults={"asked_at": at, "due_at": at + WAITS}
        )
        if is_new:
            _record("user.erasure_asked", by.user_id, by=by, at=at)
            tell_of_erasure.delay_on_commit(user_id=by.user_id)
    return row


def take_back(*, by: Actor, at: datetime) -> None:
    """Raises NotFound if nothing was asked for, or it began already."""
    with transaction.atomic():
        taken, _ = Erasure.unscoped.filter(pk=by.user_id, began_at=None).delete()
        if not taken:
            raise NotFound("There is nothing to take back")
        _record("user.erasure_taken_back", by.user_id, by=by, at=at)


def _record(action: str, user_id: str, *, by: Actor | None, at: datetime) -> None:
    audit.record(action=action, actor=by, target_kind="user", target_id=user_id, at=at)
