"""Jobs of this room."""

from collections.abc import Sequence
from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from notifications import outbox, subscriptions
from notifications.models import Notice

#: How long a person can see what became of a notification.
_KEPT = timedelta(days=30)
#: How long a browser is remembered in which nobody is signed in any more.
_LEFT = timedelta(days=90)


@shared_task(acks_late=True, ignore_result=True)
def deliver(*, notice_ids: Sequence[int], **_later: object) -> None:
    """Send what is due of these. Run twice or at the same time, it sends nothing twice."""
    outbox.send(notice_ids)


@shared_task(acks_late=True, ignore_result=True)
def deliver_due(**_later: object) -> None:
    """Every half minute: what is to be tried again, what waited for the end of quiet hours, and
    what a queue forgot."""
    outbox.give_up_abandoned(at=timezone.now())
    outbox.send()


@shared_task(acks_late=True, ignore_result=True)
def forget(**_later: object) -> None:
    """Every night."""
    at = timezone.now()
    Notice.unscoped.filter(made_at__lt=at - _KEPT).delete()
    subscriptions.forget_left(before=at - _LEFT)
