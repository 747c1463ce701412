"""Jobs of this room."""

import logging

from celery import shared_task
from django.utils import timezone

from orgs import actions, notices, queries

logger = logging.getLogger(__name__)

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


@shared_task(**_MAIL)
def tell_of_proposal(*, draft_id: str, user_id: str, **_later: object) -> None:
    """Mail one owner or admin of settings that wait for approval."""
    notices.tell_of_proposal(draft_id=draft_id, user_id=user_id)


@shared_task(**_MAIL)
def tell_of_deletion(*, organization_id: str, user_id: str, what: str, **_later: object) -> None:
    """Mail one owner or admin that a deletion was asked for or taken back."""
    notices.tell_of_deletion(organization_id=organization_id, user_id=user_id, what=what)


@shared_task(acks_late=True, ignore_result=True)
def recheck_domains(**_later: object) -> None:
    """Every night: a job for each verified domain, so that one slow answer delays no other."""
    for domain_id in queries.verified_domain_ids():
        recheck_domain.delay(domain_id=domain_id)


@shared_task(acks_late=True, ignore_result=True)
def recheck_domain(*, domain_id: str, **_later: object) -> None:
    """Whether the record of a domain still stands."""
    actions.recheck_domain(domain_id=domain_id, at=timezone.now())


@shared_task(acks_late=True, ignore_result=True)
def delete_due(**_later: object) -> None:
    """Every ten minutes. Run twice or at the same time, it deletes what is due once."""
    at = timezone.now()
    for organization_id in actions.due_deletions(at=at):
        try:
            actions.carry_out_deletion(organization_id=organization_id, at=at)
        except Exception:  # the others are deleted nevertheless, and this one next time
            logger.exception("A deletion was cut off", extra={"organization": organization_id})
