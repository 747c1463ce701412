"""Sending what was written down, each delivery at most once.

A delivery is claimed in a transaction of its own before anything goes out. What was refused for
sure is tried again; what broke off is not, for it may have arrived. If no browser of a person took
a notice, it goes by mail.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from accounts import queries as people
from notifications import mail, push, subscriptions
from notifications.kinds import Channel
from notifications.models import Delivery, Notice, Subscription
from notifications.push import Outcome

logger = logging.getLogger(__name__)

#: Deliveries that one round sends.
_AT_ONCE = 20
#: Pauses before further attempts.
_AGAIN_AFTER = (timedelta(seconds=30), timedelta(minutes=2))
#: Longer than a round can take: who claimed a delivery so long ago has ended.
_ABANDONED_AFTER = timedelta(minutes=10)
_State = Delivery.State


@dataclass(frozen=True, slots=True)
class Tried:
    delivery: Delivery
    outcome: Outcome


def send(notice_ids: Sequence[int] | None = None) -> None:
    """Send what is due of those notices, or of all, until nothing is."""
    while claimed := _claim(notice_ids, at=timezone.now()):
        _settle(_try(claimed, at=timezone.now()), at=timezone.now())


def _claim(notice_ids: Sequence[int] | None, *, at: datetime) -> list[Delivery]:
    """Deliveries that from now on nobody else sends."""
    with transaction.atomic():
        due = Delivery.unscoped.due(at)
        if notice_ids is not None:
            due = due.filter(notice_id__in=notice_ids)
        found = due.select_for_update(skip_locked=True).order_by("due_at", "pk")[:_AT_ONCE]
        claimed = [row.pk for row in found]
        Delivery.unscoped.filter(pk__in=claimed).update(state=_State.SENDING, due_at=at)
    return list(
        Delivery.unscoped.filter(pk__in=claimed)
        .select_related("notice", "subscription")
        .order_by("pk")
    )


def _try(claimed: Sequence[Delivery], *, at: datetime) -> list[Tried]:
    pushes = [row for row in claimed if row.channel == Channel.PUSH]
    mails = [row for row in claimed if row.channel == Channel.MAIL]
    return [*_push(pushes, at=at), *_mail(mails)]


def _push(deliveries: Sequence[Delivery], *, at: datetime) -> list[Tried]:
    """To the browsers that are still signed in."""
    if not deliveries:
        return []
    browsers = subscriptions.standing({row.notice.user_id for row in deliveries}, at=at)
    standing = {(user_id, browser.pk) for user_id, found in browsers.items() for browser in found}
    signed_in = [row for row in deliveries if (row.notice.user_id, row.subscription_id) in standing]
    gone = Outcome(_State.FAILED, "This browser is signed out")
    key = push.key()
    messages = [
        push.message(row.notice, row.subscription, key)
        for row in signed_in
        if row.subscription is not None
    ]
    outcomes = asyncio.run(push.send_all(messages))
    tried = dict(zip((row.pk for row in signed_in), outcomes, strict=True))
    return [Tried(row, tried.get(row.pk, gone)) for row in deliveries]


def _mail(deliveries: Sequence[Delivery]) -> list[Tried]:
    emails = people.active_emails({row.notice.user_id for row in deliveries})
    return [Tried(row, mail.send(row, to=emails.get(row.notice.user_id))) for row in deliveries]


def _settle(tried: Sequence[Tried], *, at: datetime) -> None:
    """Write down what came of it."""
    with transaction.atomic():
        notice_ids = {one.delivery.notice_id for one in tried}
        # The notice is the lock: of two browsers that both fail, the last one finds it out.
        list(Notice.unscoped.filter(pk__in=notice_ids).select_for_update().order_by("pk"))
        for one in tried:
            _settle_one(one, at=at)
        dead = [one.delivery.subscription_id for one in tried if one.outcome.is_dead]
        Subscription.unscoped.filter(pk__in=dead).delete()
        reached = [
            one.delivery.subscription_id for one in tried if one.outcome.state == _State.SENT
        ]
        Subscription.unscoped.filter(pk__in=filter(None, reached)).update(reached_at=at)
        _fall_back(notice_ids, at=at)


def _settle_one(one: Tried, *, at: datetime) -> None:
    row, outcome = one.delivery, one.outcome
    claimed = Delivery.unscoped.filter(pk=row.pk, state=_State.SENDING)
    if outcome.may_try_again and row.attempts < len(_AGAIN_AFTER):
        claimed.update(
            state=_State.WAITING,
            attempts=row.attempts + 1,
            due_at=at + _AGAIN_AFTER[row.attempts],
            reason=outcome.reason,
        )
        return
    claimed.update(
        state=outcome.state,
        attempts=row.attempts + 1,
        reason=outcome.reason or row.reason,
        settled_at=at,
    )


def _fall_back(notice_ids: set[int], *, at: datetime) -> None:
    """A mail for each of the notices that no browser took, and that none will take any more."""
    states: dict[int, set[str]] = {}
    for notice_id, channel, state in Delivery.unscoped.filter(notice_id__in=notice_ids).values_list(
        "notice_id", "channel", "state"
    ):
        states.setdefault(notice_id, set()).add(channel if channel == Channel.MAIL else state)
    hopeless = {pk for pk, known in states.items() if known <= {_State.FAILED, _State.UNKNOWN}}
    users = dict(Notice.unscoped.filter(pk__in=hopeless).values_list("pk", "user_id"))
    emails = people.active_emails(users.values())
    Delivery.unscoped.bulk_create(
        Delivery(
            notice_id=pk,
            channel=Channel.MAIL,
            label=emails[user_id],
            reason=Delivery.NO_BROWSER,
            due_at=at,
        )
        for pk, user_id in users.items()
        if user_id in emails
    )


def give_up_abandoned(*, at: datetime) -> None:
    """What a process had claimed that ended meanwhile may have been sent, and is not sent again."""
    rows = Delivery.unscoped.filter(state=_State.SENDING, due_at__lt=at - _ABANDONED_AFTER)
    cut = Outcome(_State.UNKNOWN, "The server ended while it was sent")
    abandoned = [Tried(row, cut) for row in rows.order_by("pk")[:1000]]
    if abandoned:
        logger.warning("Deliveries were abandoned", extra={"deliveries": len(abandoned)})
        _settle(abandoned, at=at)
