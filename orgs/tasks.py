"""Jobs of this room."""

from celery import shared_task

from orgs import notices


@shared_task(
    acks_late=True,
    ignore_result=True,
    autoretry_for=(OSError,),  # also what smtplib raises
    retry_backoff=30,
    max_retries=6,
)
def tell_owner_of_settings(*, version: int, user_id: str, **_later: object) -> None:
    """Mail one owner; one job each, so that a retry sends nobody a second mail."""
    notices.tell_of_settings(version=version, user_id=user_id)
