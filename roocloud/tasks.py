"""Jobs of the deployment itself."""

from celery import shared_task

from roocloud import health


@shared_task(acks_late=True, ignore_result=True)
def sign_of_life(**_later: object) -> None:
    """Every half minute: scheduler, queue and worker are there, or this would not run."""
    health.jobs_ran()
