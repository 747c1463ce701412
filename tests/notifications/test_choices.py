"""What a person wants to be told, how, and when not."""

from datetime import UTC, datetime, time

import pytest
from django.core import mail

from notifications import actions, preferences, tasks
from notifications.kinds import Channel, Kind
from notifications.models import Delivery, Notice
from notifications.preferences import Wishes
from roocloud.lib.refusals import InvalidInput, TooManyRequests
from tests import factories
from tests.notifications.conftest import EVERYTHING, news, tell, wish

pytestmark = pytest.mark.django_db(transaction=True)


def at(hour, minute=0, day=20):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


class TestQuietHours:
    @pytest.mark.parametrize(
        ("zone", "start", "end", "now", "ends"),
        [
            ("UTC", time(22), time(7), at(23), at(7, day=21)),
            ("UTC", time(22), time(7), at(3), at(7)),
            ("UTC", time(22), time(7), at(7), None),
            ("UTC", time(22), time(7), at(21, 59), None),
            ("UTC", time(12), time(13), at(12), at(13)),
            ("UTC", time(12), time(13), at(13), None),
            ("Europe/Berlin", time(22), time(7), at(21), at(6, day=21)),
            ("Europe/Berlin", time(22), time(7), at(6), None),
            ("America/New_York", time(22), time(7), at(3), at(12)),
            ("Asia/Kolkata", time(22), time(7), at(17), at(1, 30, day=21)),
            ("UTC", None, None, at(3), None),
        ],
    )
    def test_are_by_the_clock_of_the_person(self, zone, start, end, now, ends):
        wishes = Wishes(time_zone=zone, quiet_from=start, quiet_until=end)
        assert wishes.quiet_end(now) == ends

    def test_keep_browsers_silent_and_mail_back(self, alice, browser, service, time_machine):
        time_machine.move_to(at(23), tick=False)
        browser(alice)
        wish(alice, *EVERYTHING, quiet_from=time(22), quiet_until=time(7))
        tell(news(alice), at=at(23))
        tasks.deliver_due()
        assert (service.pushed, mail.outbox) == ([], [])
        assert Notice.unscoped.get().silence == "quiet"

        time_machine.move_to(at(7, day=21), tick=False)
        tasks.deliver_due()
        assert (service.pushed, len(mail.outbox)) == ([], 1)

    def test_call_for_no_mail_that_was_not_chosen(self, alice, browser, service):
        browser(alice)
        push_only = [(kind, Channel.PUSH) for kind in preferences.CHOOSABLE]
        wish(alice, *push_only, quiet_from=time(22), quiet_until=time(7))
        tell(news(alice), at=at(23))
        assert not Delivery.unscoped.exists()


class TestChoices:
    def test_of_who_never_said_anything_are_budgets_by_mail(self, alice):
        assert tell(news(alice)) == 0
        assert tell(news(alice, "budget:1", kind=Kind.BUDGET)) == 1
        assert [message.to for message in mail.outbox] == [[alice.email]]

    def test_begin_with_everything_in_a_first_browser(self, alice, browser):
        browser(alice)
        wishes = preferences.of([alice.pk])[alice.pk]
        assert all(wishes.wants(kind, Channel.PUSH) for kind in preferences.CHOOSABLE)
        assert not wishes.wants(Kind.APPROVAL, Channel.MAIL)

    def test_are_kept_when_another_browser_is_turned_on(self, alice, browser):
        wish(alice, (Kind.FAILED, Channel.MAIL))
        browser(alice)
        chosen = preferences.of([alice.pk])[alice.pk].choices
        assert chosen == {(Kind.FAILED, Channel.MAIL)}

    def test_decide_by_kind_and_channel(self, alice, browser, service):
        browser(alice)
        wish(alice, (Kind.APPROVAL, Channel.PUSH), (Kind.FAILED, Channel.MAIL))
        for kind in (Kind.APPROVAL, Kind.FAILED, Kind.FINISHED):
            tell(news(alice, kind, kind=kind, title=kind.label))
        assert len(service.pushed) == 1
        assert [message.subject for message in mail.outbox] == ["[Roo Cloud] Failed"]
        assert Notice.unscoped.get(key="finished").silence == "off"

    def test_nothing_is_said_to_who_is_looking(self, alice, browser, service):
        browser(alice)
        tell(news(alice, is_seen=True))
        assert service.pushed == []
        assert Notice.unscoped.get().silence == "seen"

    @pytest.mark.parametrize(
        ("wishes", "field"),
        [
            (Wishes(frozenset({("weather", "push")})), "choices"),
            (Wishes(frozenset({("failed", "pigeon")})), "choices"),
            (Wishes(time_zone="Mars/Olympus"), "time_zone"),
            (Wishes(time_zone="../../etc/passwd"), "time_zone"),
            (Wishes(quiet_from=time(1)), "quiet_until"),
            (Wishes(quiet_from=time(1), quiet_until=time(1)), "quiet_until"),
        ],
    )
    def test_that_mean_nothing_are_refused(self, alice, wishes, field):
        with pytest.raises(InvalidInput) as refused:
            preferences.save(user_id=alice.pk, wishes=wishes, at=factories.NOON)
        assert refused.value.field == field


class TestATest:
    def test_goes_everywhere_whatever_is_chosen_and_whenever(self, alice, browser, service):
        browser(alice, "/phone")
        wish(alice, quiet_from=time(0), quiet_until=time(23, 59, 59))
        actions.send_test(by=factories.actor(alice), at=factories.NOON)
        assert [pushed.path for pushed in service.pushed] == ["/phone"]
        assert [message.to for message in mail.outbox] == [[alice.email]]

    def test_is_not_a_way_to_flood_somebody(self, alice, service):
        for _ in range(5):
            actions.send_test(by=factories.actor(alice), at=factories.NOON)
        with pytest.raises(TooManyRequests):
            actions.send_test(by=factories.actor(alice), at=factories.NOON)
        assert len(mail.outbox) == 5
