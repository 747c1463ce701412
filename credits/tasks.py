"""Jobs of this room. Of mails, one for each, so that a retry sends nobody a second one."""

from celery import shared_task
from django.utils import timezone

from credits import notices

_MAIL = {
    "acks_late": True,
    "ignore_result": True,
    "autoretry_for": (OSError,),  # also what smtplib raises
    "retry_backoff": 30,
    "max_retries": 6,
}


@shared_task(acks_late=True, ignore_result=True)
def warn_of_budget(*, span_id: int, **_later: object) -> None:
    """Run twice, it tells nobody twice."""
    notices.tell_of_budget(span_id=span_id, at=timezone.now())


@shared_task(acks_late=True, ignore_result=True)
def tell_of_top_up(*, top_up_id: str, **_later: object) -> None:
    """To everybody who may answer."""
    for user_id in notices.recipients_of_top_up(top_up_id):
        tell_one_of_top_up.delay(top_up_id=top_up_id, user_id=user_id)


@shared_task(**_MAIL)
def tell_one_of_top_up(*, top_up_id: str, user_id: str, **_later: object) -> None:
    """Mail one person."""
    notices.tell_of_top_up(top_up_id=top_up_id, user_id=user_id)


@shared_task(**_MAIL)
def tell_of_answer(*, top_up_id: str, **_later: object) -> None:
    """Mail who asked."""
    notices.tell_of_answer(top_up_id=top_up_id)
