"""Jobs of this room."""

from celery import shared_task

from credits import notices


@shared_task(acks_late=True, ignore_result=True)
def warn_of_budget(*, span_id: int, **_later: object) -> None:
    """One job for each person, so that a retry sends nobody a second mail."""
    for user_id in notices.recipients(span_id):
        tell_of_budget.delay(span_id=span_id, user_id=user_id)


@shared_task(
    acks_late=True,
    ignore_result=True,
    autoretry_for=(OSError,),  # also what smtplib raises
    retry_backoff=30,
    max_retries=6,
)
def tell_of_budget(*, span_id: int, user_id: str, **_later: object) -> None:
    """Mail one person."""
    notices.tell_of_budget(span_id=span_id, user_id=user_id)
