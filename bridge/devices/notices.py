"""Mail to the owners of devices."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from bridge.devices.models import Device


def tell_of_device(*, device_pk: str, is_new: bool) -> None:
    """Mail a device's owner that it was paired (R4). Nothing is sent of one that was removed."""
    device = Device.unscoped.alive().filter(pk=device_pk).select_related("owner").first()
    if device is None:
        return
    path = reverse("paired-device", args=[device.pk])
    context = {
        "device": device,
        "is_new": is_new,
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}{path}",
    }
    what = "A new device is paired" if is_new else "A device is paired again"
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{what}",
        render_to_string("bridge/mail/device_paired.txt", context),
        None,
        [device.owner.email],
    )
