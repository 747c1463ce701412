"""Jobs of this room."""

from celery import shared_task
from django.utils import timezone

from telemetry import actions


@shared_task(acks_late=True, ignore_result=True)
def store_backfill(*, job_id: str, **_later: object) -> None:
    """Store one uploaded conversation; safe to run any number of times."""
    actions.run_backfill(job_id=job_id, at=timezone.now())


@shared_task(acks_late=True, ignore_result=True)
def resend_backfills(**_later: object) -> None:
    """Every minute: queue again what a broker forgot or a fault interrupted."""
    for job_id in actions.due_backfills(at=timezone.now()):
        store_backfill.delay(job_id=job_id)


@shared_task(acks_late=True, ignore_result=True)
def purge_backfills(**_later: object) -> None:
    """Every night."""
    actions.purge_backfills(at=timezone.now())
