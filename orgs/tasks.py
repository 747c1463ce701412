"""Jobs of this room."""

from celery import shared_task
from django.utils import timezone

from orgs import notices

#: Of a job that sends one mail: smtplib raises OSErrors.
_MAIL = {
    "acks_late": True,
    "ignore_result": True,
    "autoretry_for": (OSError,),
    "retry_backoff": 30,
    "max_retries": 6,
}


@shared_task(**_MAIL)
def mail_invitation(*, invitation_id: str, **_later: object) -> None:
    """Mail an invitation to its address, unless that was done or it has ended."""
    notices.send_invitation(invitation_id=invitation_id, at=timezone.now())


@shared_task(**_MAIL)
def tell_owner_of_settings(*, version: int, user_id: str, **_later: object) -> None:
    """Mail one owner; one job each, so that a retry sends nobody a second mail."""
    notices.tell_of_settings(version=version, user_id=user_id)
