"""Jobs of this room."""

from celery import shared_task
from django.utils import timezone

from proxy import admission, idempotency, keeping


@shared_task(acks_late=True, ignore_result=True)
def settle_orphans(**_later: object) -> None:
    """Every half minute. Run twice or at once, it charges nobody twice (C8)."""
    admission.settle_orphans(at=timezone.now())


@shared_task(acks_late=True, ignore_result=True)
def forget_idempotency_keys(**_later: object) -> None:
    """Every hour."""
    idempotency.forget(at=timezone.now())


@shared_task(acks_late=True, ignore_result=True)
def forget_transcripts(**_later: object) -> None:
    """Every hour, and when an organization wants less stored."""
    keeping.forget(at=timezone.now())
