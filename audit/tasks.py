"""Jobs of this room."""

from celery import shared_task
from django.utils import timezone

from audit import chain, verifying


@shared_task(acks_late=True, ignore_result=True)
def link(**_later: object) -> None:
    """Every few seconds. Run twice or at once, each entry is linked once."""
    chain.link(at=timezone.now())


@shared_task(acks_late=True, ignore_result=True)
def verify(**_later: object) -> None:
    """Every night."""
    verifying.check(at=timezone.now())
