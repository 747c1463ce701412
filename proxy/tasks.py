"""Jobs of this room."""

from celery import shared_task
from django.utils import timezone

from proxy import actions


@shared_task(acks_late=True, ignore_result=True)
def settle_orphans(**_later: object) -> None:
    """Every minute. Run twice or at the same time, it charges nobody twice: settle_hold decides."""
    actions.settle_orphans(at=timezone.now())
