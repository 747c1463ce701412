"""Jobs of devices."""

from celery import shared_task

from bridge.devices import notices


@shared_task(
    acks_late=True,
    ignore_result=True,
    autoretry_for=(OSError,),  # also what smtplib raises
    retry_backoff=30,
    max_retries=6,
)
def tell_of_device(*, device_pk: str, is_new: bool, **_later: object) -> None:
    """Mail the owner of a device that it was paired, or paired again with a new key."""
    notices.tell_of_device(device_pk=device_pk, is_new=is_new)
