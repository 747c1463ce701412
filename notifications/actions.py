"""What other rooms call: people are to be told of something."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse

from accounts import queries as people
from accounts.actors import Actor
from notifications import preferences, subscriptions
from notifications.kinds import Channel, Kind
from notifications.models import Delivery, Notice, Subscription
from notifications.preferences import Wishes
from notifications.tasks import deliver
from roocloud.lib.bulk import insert_rows
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import TooManyRequests
from roocloud.lib.text import clean_label

#: Tests that a person may send in so long.
_TESTS, _TESTS_WITHIN = 5, timedelta(minutes=10)
#: Quiet hours keep mail back until they end, and browsers silent.
_LOUD = (Notice.Silence.NONE, Notice.Silence.QUIET)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something to tell a person.

    key: what it is about; the same person is told of it once. topic: what it is the newest of, such
    as a task. title, text: shown on locked screens, so they hold no code, no path and no words of a
    conversation. path: of the page that it leads to. is_seen: whether the person looks at that page
    at this moment.
    """

    user_id: str
    kind: Kind
    key: str
    topic: str
    title: str
    text: str
    path: str
    is_seen: bool = False


def tell(news: Sequence[News], *, at: datetime) -> int:
    """Write down what people are to be told, by the ways that they chose; how much of it is new.
    What is written down is sent soon after the transaction, also if this process ends then.

    Who never said anything is told of budgets, by mail, and of nothing else.
    """
    wishes = preferences.of({one.user_id for one in news})
    wanted = [one for one in news if _concerns(one, wishes[one.user_id])]
    if not wanted:
        return 0
    user_ids = {one.user_id for one in wanted}
    with transaction.atomic():
        notices = _write(wanted, wishes, at=at)
        if not any(notice.silence in _LOUD for notice in notices):
            return len(notices)
        browsers = subscriptions.standing(user_ids, at=at)
        emails = people.active_emails(user_ids)
        deliveries = [
            delivery
            for notice in notices
            if notice.silence in _LOUD and notice.user_id in emails
            for delivery in _deliveries(
                notice,
                wishes[notice.user_id],
                browsers=browsers.get(notice.user_id, []),
                email=emails[notice.user_id],
                at=at,
            )
        ]
        Delivery.unscoped.bulk_create(deliveries)
        if deliveries:
            deliver.delay_on_commit(notice_ids=sorted({row.notice_id for row in deliveries}))
    return len(notices)


def _concerns(one: News, wishes: Wishes) -> bool:
    return wishes.is_known or one.kind == Kind.TEST or wishes.wants(one.kind, Channel.MAIL)


def _write(news: Sequence[News], wishes: Mapping[str, Wishes], *, at: datetime) -> list[Notice]:
    """Those that are new."""
    rows = {
        (one.user_id, one.key): {
            "user": one.user_id,
            "kind": str(one.kind),
            "key": one.key,
            "topic": one.topic,
            "title": clean_label(one.title, 100),
            "text": clean_label(one.text, 300),
            "path": one.path,
            "silence": str(_silence(one, wishes[one.user_id], at=at)),
            "made_at": at,
        }
        for one in news
    }
    added = insert_rows(Notice, list(rows.values()), unique=("user", "key"))
    return list(Notice.unscoped.filter(pk__in=added).order_by("pk"))


def _silence(one: News, wishes: Wishes, *, at: datetime) -> Notice.Silence:
    if one.kind == Kind.TEST:
        return Notice.Silence.NONE
    if not any(wishes.wants(one.kind, channel) for channel in Channel):
        return Notice.Silence.OFF
    if one.is_seen:
        return Notice.Silence.SEEN
    return Notice.Silence.QUIET if wishes.quiet_end(at) else Notice.Silence.NONE


def _deliveries(
    notice: Notice, wishes: Wishes, *, browsers: Sequence[Subscription], email: str, at: datetime
) -> Iterator[Delivery]:
    is_test = notice.kind == Kind.TEST
    is_quiet = notice.silence == Notice.Silence.QUIET
    by_push = not is_quiet and (is_test or wishes.wants(notice.kind, Channel.PUSH))
    by_mail = is_test or wishes.wants(notice.kind, Channel.MAIL)
    if by_push:
        for browser in browsers:
            yield Delivery(
                notice=notice,
                channel=Channel.PUSH,
                subscription=browser,
                label=browser.label,
                due_at=at,
            )
    if by_mail or (by_push and not browsers):
        yield Delivery(
            notice=notice,
            channel=Channel.MAIL,
            label=email,
            reason="" if by_mail else Delivery.NO_BROWSER,
            due_at=(wishes.quiet_end(at) or at) if is_quiet else at,
        )


def send_test(*, by: Actor, at: datetime) -> None:
    """Send something harmless to every browser of the person, and to their mailbox.

    Raises TooManyRequests after five in ten minutes.
    """
    with transaction.atomic():
        people.lock(by.user_id)  # or two at once would each see the same number
        since = at - _TESTS_WITHIN
        sent = Notice.objects.visible_to(by).filter(kind=Kind.TEST, made_at__gt=since).count()
        if sent >= _TESTS:
            raise TooManyRequests(
                "That were enough tests for ten minutes",
                retry_after_s=int(_TESTS_WITHIN.total_seconds()),
            )
        test = News(
            user_id=by.user_id,
            kind=Kind.TEST,
            key=new_id("test"),
            topic="test",
            title="Notifications work",
            text="This is the test that you asked for.",
            path=reverse("notifications"),
        )
        tell([test], at=at)
