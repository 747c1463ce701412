"""Jobs of this room."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from bridge import commands, presence, tokens
from bridge.devices import queue, registry

#: How long the token of a window that is not open is kept: an editor may sleep for weeks.
_TOKENS_KEPT = timedelta(days=90)
#: How long instances that ended, and what became of commands, are shown.
_INSTANCES_KEPT, _COMMANDS_KEPT = timedelta(days=30), timedelta(days=90)
#: The same of devices that were removed.
_DEVICES_KEPT = timedelta(days=90)


@shared_task(acks_late=True, ignore_result=True)
def forget(**_later: object) -> None:
    """Every night. What was done with commands stays in the audit trail."""
    at = timezone.now()
    tokens.forget_unused(before=at - _TOKENS_KEPT)
    presence.forget_ended(before=at - _INSTANCES_KEPT)
    commands.forget_settled(before=at - _COMMANDS_KEPT)
    queue.forget(before=at - _COMMANDS_KEPT)
    registry.forget(before=at - _DEVICES_KEPT)
