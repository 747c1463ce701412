"""What goes out, at most once by each way, and what is written down of it."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import IntegrityError, transaction
from django.utils import timezone

from notifications import outbox, preferences, push, tasks
from notifications.kinds import Channel, Kind
from notifications.models import Delivery, Notice, Preferences, PushKey, Subscription
from roocloud.lib import sealed
from tests import factories
from tests.notifications.conftest import EVERYTHING, news, tell, wish

pytestmark = pytest.mark.django_db(transaction=True)


def outcomes():
    return sorted(Delivery.unscoped.values_list("channel", "state", "reason"))


def minutes_pass(minutes):
    """For what waits and what was claimed."""
    for row in Delivery.unscoped.unfinished():
        row.due_at -= timedelta(minutes=minutes)
        row.save(update_fields=["due_at"])


class TestAPush:
    def test_is_read_by_the_browser_alone_and_says_only_where(self, alice, browser, service):
        row, keys = browser(alice)
        tell(news(alice))

        [pushed] = service.pushed
        assert keys.read(pushed.body) == {
            "title": "An editor needs your approval",
            "text": "acme/shop · desk",
            "path": "/roomote/w-1",
            "topic": "task:task-1",
        }
        for word in (b"acme", b"approval", b"task-1"):
            assert word not in pushed.body
        assert pushed.headers["Content-Encoding"] == "aes128gcm"
        assert (pushed.headers["Urgency"], pushed.headers["TTL"]) == ("high", "3600")
        assert len(pushed.headers["Topic"]) == 32
        row.refresh_from_db()
        assert row.reached_at is not None
        assert outcomes() == [("push", "sent", "")]

    def test_is_signed_by_this_deployment(self, alice, browser, service, settings):
        settings.ROOCLOUD_PUBLIC_URL = "https://cloud.example.com"
        browser(alice)
        tell(news(alice))

        claims = service.pushed[0].claims()
        assert claims["aud"] == service.url
        assert claims["sub"] == "https://cloud.example.com"
        assert claims["k"] == push.key().public
        assert timedelta(0) < timedelta(seconds=claims["exp"] - timezone.now().timestamp())

    def test_goes_to_every_browser_and_to_nobody_elses(self, alice, bob, browser, service):
        browser(alice, "/phone")
        browser(alice, "/laptop")
        browser(bob, "/bob")
        tell(news(alice))
        assert sorted(pushed.path for pushed in service.pushed) == ["/laptop", "/phone"]

    @pytest.mark.parametrize("status", [404, 410])
    def test_to_a_dead_subscription_is_the_last(self, alice, browser, service, status):
        service.answers["/phone"] = status
        browser(alice)
        tell(news(alice))
        assert not Subscription.unscoped.exists()
        assert outcomes()[1] == ("push", "failed", "This browser takes no more notifications")

    def test_follows_no_redirect(self, alice, browser, service):
        """K1"""
        service.answers["/phone"] = 307
        browser(alice)
        tell(news(alice))
        assert [pushed.path for pushed in service.pushed] == ["/phone"]
        assert outcomes()[1] == ("push", "failed", "Its push service answered 307")

    def test_is_not_sent_inside(self, alice, service, monkeypatch):
        """K1: not even where upstreams may be."""
        monkeypatch.undo()
        for host in ("127.0.0.1", "localhost"):
            port = service.url.rpartition(":")[2]
            factories.subscription(alice, f"http://{host}:{port}/phone")
        wish(alice, *EVERYTHING)
        tell(news(alice))
        assert service.pushed == []
        states = set(outcomes())
        reason = "Its push service is at an address that is not allowed"
        assert states == {("push", "failed", reason), ("mail", "sent", "")}

    def test_is_not_for_a_browser_that_was_signed_out(self, alice, browser, service):
        """B4: between writing down and sending, too."""
        row, _ = browser(alice)
        tell(news(alice, "first"))
        row.session.end()
        tell(news(alice, "second"))
        assert len(service.pushed) == 1

    def test_is_not_for_who_took_over_the_browser_meanwhile(
        self, alice, bob, browser, service, monkeypatch
    ):
        """A1"""
        browser(alice)
        with monkeypatch.context() as patch:
            patch.setattr(tasks.deliver, "delay", lambda **_: None)
            tell(news(alice))
            Subscription.unscoped.update(user=bob, session=factories.web_session(bob))
            preferences.begin(user_id=bob.pk, time_zone="UTC", at=timezone.now())
            tell(news(bob, "his own"))
        tasks.deliver_due()  # both at once
        assert len(service.pushed) == 1
        assert Delivery.unscoped.get(channel="push", notice__user=alice).state == "failed"

    def test_is_not_for_a_closed_account(self, alice, browser, service):
        browser(alice)
        alice.is_active = False
        alice.save()
        tell(news(alice))
        assert (service.pushed, mail.outbox) == ([], [])


class TestAtMostOnce:
    def test_the_same_question_is_told_once(self, alice, browser, service):
        browser(alice)
        assert tell(news(alice), news(alice)) == 1
        assert tell(news(alice)) == 0
        assert tell(news(alice, "ask:task-1:2")) == 1
        assert len(service.pushed) == 2

    def test_the_same_key_is_anothers_question(self, alice, bob, browser, service):
        browser(alice, "/alice")
        browser(bob, "/bob")
        assert tell(news(alice), news(bob)) == 2

    def test_what_a_process_claimed_that_was_killed_is_not_sent_again(
        self, alice, browser, service, monkeypatch
    ):
        browser(alice)

        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(push, "send_all", killed)
            with pytest.raises(KeyboardInterrupt):
                tell(news(alice))
        tasks.deliver_due()
        assert outcomes() == [("push", "sending", "")]

        minutes_pass(11)
        tasks.deliver_due()
        assert service.pushed == []
        assert outcomes() == [
            ("mail", "sent", "No browser could be reached"),
            ("push", "unknown", "The server ended while it was sent"),
        ]

    def test_what_was_not_claimed_before_the_kill_is_found_by_the_sweep(
        self, alice, browser, service, monkeypatch
    ):
        browser(alice)
        with monkeypatch.context() as patch:
            patch.setattr(tasks.deliver, "delay", lambda **_: None)
            tell(news(alice))
        assert service.pushed == []
        tasks.deliver_due()
        tasks.deliver_due()
        assert len(service.pushed) == 1

    def test_the_database_holds_it(self, alice, browser, service):
        row, _ = browser(alice)
        tell(news(alice))
        notice, at = Notice.unscoped.get(), timezone.now()
        for channel, subscription in ((Channel.PUSH, row), (Channel.MAIL, None)):
            twice = {"notice": notice, "channel": channel, "subscription": subscription}
            if channel == Channel.MAIL:
                Delivery.unscoped.create(**twice, label="x", due_at=at)
            with pytest.raises(IntegrityError), transaction.atomic():
                Delivery.unscoped.create(**twice, label="x", due_at=at)
        with pytest.raises(IntegrityError), transaction.atomic():
            Delivery.unscoped.filter(state="sent").update(settled_at=None)
        with pytest.raises(IntegrityError), transaction.atomic():
            PushKey.unscoped.create(pk=2, created_at=at)
        with pytest.raises(IntegrityError), transaction.atomic():
            Preferences.unscoped.update(quiet_from="22:00")


class TestTrouble:
    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_is_tried_again_twice_and_then_goes_by_mail(self, alice, browser, service, status):
        service.answers["/phone"] = status
        browser(alice)
        tell(news(alice))
        for _ in range(5):
            tasks.deliver_due()
            assert Delivery.unscoped.get(channel="push").attempts == len(service.pushed)
            minutes_pass(3)
        assert len(service.pushed) == 3
        assert outcomes() == [
            ("mail", "sent", "No browser could be reached"),
            ("push", "failed", f"Its push service answered {status}"),
        ]

    def test_that_passes_ends_well(self, alice, browser, service):
        service.answers["/phone"] = 503
        browser(alice)
        tell(news(alice))
        del service.answers["/phone"]
        minutes_pass(3)
        tasks.deliver_due()
        assert (outcomes()[0][:2], mail.outbox) == (("push", "sent"), [])

    def test_one_browser_that_works_is_enough(self, alice, browser, service):
        service.answers["/phone"] = 410
        browser(alice, "/phone")
        browser(alice, "/laptop")
        tell(news(alice))
        assert mail.outbox == []

    def test_goes_by_mail_when_no_browser_is_left(self, alice, browser, service):
        row, _ = browser(alice)
        row.delete()
        tell(news(alice))
        [sent] = mail.outbox
        assert (sent.to, sent.subject) == (
            [alice.email],
            "[Roo Cloud] An editor needs your approval",
        )
        assert "/roomote/w-1" in sent.body
        assert "because no browser of yours could be reached" in sent.body

    def test_of_the_mail_server_is_told_apart(self, alice, service, monkeypatch):
        wish(alice, *EVERYTHING)
        with monkeypatch.context() as patch:
            patch.setattr(EmailBackend, "open", lambda _: (_ for _ in ()).throw(ConnectionError()))
            tell(news(alice, "down"))
        assert Delivery.unscoped.get().state == "waiting"
        with monkeypatch.context() as patch:
            patch.setattr(
                EmailBackend, "send_messages", lambda *_: (_ for _ in ()).throw(TimeoutError())
            )
            tell(news(alice, "silent"))
        unknown = Delivery.unscoped.get(notice__key="silent")
        assert (unknown.state, unknown.reason) == ("unknown", "The mail server did not answer")
        minutes_pass(1)
        tasks.deliver_due()
        assert len(mail.outbox) == 1


def test_what_is_old_is_forgotten(alice, browser, service):
    browser(alice)
    tell(news(alice, "old"), at=timezone.now() - timedelta(days=31))
    tell(news(alice, "new"))
    factories.subscription(alice, session=None)
    Subscription.unscoped.filter(session=None).update(
        created_at=timezone.now() - timedelta(days=91)
    )
    tasks.forget()
    assert Subscription.unscoped.count() == 1
    assert list(Notice.unscoped.values_list("key", flat=True)) == ["new"]


def test_the_key_moves_to_a_new_field_key(db, settings):
    """I3"""
    from roocloud.lib.crypto import new_key

    public = push.key().public
    settings.ROOCLOUD_FIELD_KEYS = [new_key("k9"), *settings.ROOCLOUD_FIELD_KEYS]
    moved = [row for row in sealed.renew_all() if "PushKey" in row.column]
    assert [row.is_lost for row in moved] == [False]
    settings.ROOCLOUD_FIELD_KEYS = settings.ROOCLOUD_FIELD_KEYS[:1]
    assert push.key().public == public


def test_telling_many_costs_as_many_queries_as_telling_one(
    alice, bob, adam, browser, service, django_assert_num_queries, monkeypatch
):
    monkeypatch.setattr(outbox, "send", lambda *_: None)
    for person in (alice, bob, adam):
        wish(person, (Kind.APPROVAL, Channel.PUSH))
        browser(person, f"/{person.first_name}")
    with django_assert_num_queries(11):
        tell(news(alice))
    with django_assert_num_queries(11):
        tell(*(news(one, f"{n}") for one in (alice, bob, adam) for n in range(5)))


def test_nothing_is_sent_of_what_was_rolled_back(alice, browser, service):
    browser(alice)
    with transaction.atomic():
        tell(news(alice))
        transaction.set_rollback(True)
    assert (service.pushed, Notice.unscoped.count()) == ([], 0)
    assert preferences.of([alice.pk])[alice.pk].is_known
