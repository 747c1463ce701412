"""Notices by mail."""

import smtplib

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string
from django.urls import reverse

from notifications.models import Delivery
from notifications.push import Outcome

_State = Delivery.State


def send(delivery: Delivery, *, to: str | None) -> Outcome:
    """Mail a notice. to: None if the account is closed by now."""
    if to is None:
        return Outcome(_State.FAILED, "This account is closed")
    notice = delivery.notice
    context = {
        "notice": notice,
        "is_fallback": delivery.reason == Delivery.NO_BROWSER,
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}{notice.path}",
        "choices": f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('notifications')}",
    }
    connection = get_connection()
    try:
        connection.open()
    except OSError:  # also what smtplib raises
        return Outcome(_State.FAILED, "The mail server could not be reached", may_try_again=True)
    try:
        EmailMessage(
            f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{notice.title}",
            render_to_string("notifications/mail/notice.txt", context),
            None,
            [to],
            connection=connection,
        ).send()
    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as refusal:
        return Outcome(_State.FAILED, "The mail server refused it", may_try_again=_is_soft(refusal))
    except OSError:
        return Outcome(_State.UNKNOWN, "The mail server did not answer")
    finally:
        connection.close()
    return Outcome(_State.SENT)


def _is_soft(refusal: smtplib.SMTPException) -> bool:
    """Whether the mail server asks to be tried again later."""
    if isinstance(refusal, smtplib.SMTPRecipientsRefused):
        return all(code < 500 for code, _ in refusal.recipients.values())
    return isinstance(refusal, smtplib.SMTPResponseException) and refusal.smtp_code < 500
