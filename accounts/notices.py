"""Mail to a person about their account."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import Erasure


def tell_of_erasure(*, user_id: str) -> None:
    """That everything of theirs will be deleted, and how to take that back."""
    row = Erasure.unscoped.filter(pk=user_id, began_at=None).select_related("user").first()
    if row is None:
        return
    link = f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('my-data')}"
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}Your account will be deleted",
        render_to_string("accounts/mail/erasure.txt", {"due_at": row.due_at, "link": link}),
        None,
        [row.user.email],
    )
