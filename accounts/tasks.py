"""Jobs of this room."""

from celery import shared_task
from django.utils import timezone

from accounts import forgetting, notices


@shared_task(
    acks_late=True,
    ignore_result=True,
    autoretry_for=(OSError,),  # also what smtplib raises
    retry_backoff=30,
    max_retries=6,
)
def tell_of_erasure(*, user_id: str, **_later: object) -> None:
    """Mail one person."""
    notices.tell_of_erasure(user_id=user_id)


@shared_task(acks_late=True, ignore_result=True)
def erase_due(**_later: object) -> None:
    """Every hour. Cut short, it goes on the next time."""
    at = timezone.now()
    for user_id in forgetting.due(at=at):
        forgetting.carry_out(user_id=user_id, at=at)
