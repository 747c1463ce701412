"""``/account/notifications``, and what a browser says there of itself."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications import push, subscriptions
from notifications.models import Delivery, Notice, Preferences, Subscription
from roocloud.lib.agents import browser_name
from tests import factories
from tests.fakes.push_service import Keys
from tests.notifications.conftest import news, tell

pytestmark = pytest.mark.django_db

PAGE = "/account/notifications"
BROWSERS = f"{PAGE}/browsers"


def described(endpoint="https://push.example/1", **changes):
    keys = Keys()
    return {"endpoint": endpoint, "p256dh": keys.p256dh, "auth": keys.auth, **changes}


@pytest.fixture
def signed_in(client, alice):
    client.force_login(alice)
    return client


class TestABrowser:
    def test_is_known_by_what_it_says_and_says_it_as_often_as_it_likes(self, signed_in, alice):
        given = described(time_zone="Europe/Berlin")
        agent = "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0"
        for _ in range(3):
            answer = signed_in.post(BROWSERS, given, headers={"User-Agent": agent})
            assert answer.status_code == 200
        row = Subscription.unscoped.get()
        assert (row.user_id, row.label, answer.json()["id"]) == (
            alice.pk, "Firefox on Android", row.pk,
        )  # fmt: skip
        assert Preferences.unscoped.get().time_zone == "Europe/Berlin"

    def test_is_of_who_is_signed_in_there_last(self, client, alice, bob):
        given = described()
        for person in (alice, bob):
            client.force_login(person)
            assert client.post(BROWSERS, given).status_code == 200
        assert Subscription.unscoped.get().user_id == bob.pk

    def test_is_reached_while_its_person_is_signed_in_there(self, client, alice):
        """B4"""
        given = described()

        def is_reached():
            return bool(subscriptions.standing([alice.pk], at=timezone.now()))

        client.force_login(alice)
        client.post(BROWSERS, given)
        assert is_reached()
        client.post("/accounts/logout/")
        assert not is_reached()
        client.force_login(alice)
        assert not is_reached()
        assert client.post(f"{BROWSERS}/renew", given).status_code == 204
        assert is_reached()

    def test_that_was_turned_off_elsewhere_does_not_come_back(self, signed_in, alice, bob):
        given = described()
        signed_in.post(BROWSERS, given)
        signed_in.force_login(bob)
        assert signed_in.post(f"{BROWSERS}/renew", given).status_code == 404
        signed_in.force_login(alice)
        Subscription.unscoped.all().delete()
        assert signed_in.post(f"{BROWSERS}/renew", given).status_code == 404
        assert signed_in.post(f"{BROWSERS}/renew").status_code == 404
        assert not Subscription.unscoped.exists()

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"endpoint": ""}, "endpoint"),
            ({"endpoint": "http://push.example/1"}, "endpoint"),
            ({"endpoint": "file:///etc/passwd"}, "endpoint"),
            ({"endpoint": "https://"}, "endpoint"),
            ({"endpoint": "https://user@push.example/"}, "endpoint"),
            ({"endpoint": "https://push.example:x/"}, "endpoint"),
            ({"endpoint": "https://push.example/é"}, "endpoint"),
            ({"endpoint": "https://push.example/a b"}, "endpoint"),
            ({"endpoint": "https://[::1/"}, "endpoint"),
            ({"endpoint": f"https://push.example/{'x' * 1000}"}, "endpoint"),
            ({"p256dh": "x"}, "p256dh"),
            ({"p256dh": "A" * 87}, "p256dh"),
            ({"p256dh": "é" * 87}, "p256dh"),
            ({"auth": "abc"}, "auth"),
            ({"auth": "é" * 22}, "auth"),
            ({"auth": "A" * 22 + "!" * 60}, "auth"),
        ],
    )
    def test_that_talks_nonsense_is_refused(self, signed_in, changes, field):
        """F5"""
        answer = signed_in.post(
            BROWSERS, described(**changes), headers={"Accept": "application/json"}
        )
        assert answer.status_code == 400
        assert f"{field}: " in answer.content.decode()
        assert not Subscription.unscoped.exists()

    def test_is_written_down_in_as_few_signs_as_its_keys_need(self, signed_in):
        given = described()
        padded = {key: given[key] + "=" * 10 for key in ("p256dh", "auth")}
        assert signed_in.post(BROWSERS, {**given, **padded}).status_code == 200
        row = Subscription.unscoped.get()
        assert (row.p256dh, row.auth) == (given["p256dh"], given["auth"])

    def test_is_one_of_twenty_at_most(self, signed_in, alice):
        session = factories.web_session(alice)
        for _ in range(20):
            factories.subscription(alice, session=session)
        assert signed_in.post(BROWSERS, described()).status_code == 409

    def test_can_be_turned_off_by_its_person_alone(self, client, alice, mallory):
        row = factories.subscription(alice)
        client.force_login(mallory)
        assert client.post(f"{BROWSERS}/{row.pk}/remove").status_code == 404
        client.force_login(alice)
        assert client.post(f"{BROWSERS}/{row.pk}/remove").status_code == 302
        assert not Subscription.unscoped.exists()

    @pytest.mark.parametrize(
        ("agent", "name"),
        [
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Safari/604.1", "Safari on iPhone"),
            ("Mozilla/5.0 (Windows NT 10.0; Win64) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
            ("Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36", "Chrome on Linux"),
            ("curl/8", "A browser"),
        ],
    )  # fmt: skip
    def test_has_a_name(self, agent, name):
        assert browser_name(agent) == name


class TestThePage:
    def test_keeps_what_was_typed_and_says_what_is_wrong_beside_it(self, signed_in):
        answer = signed_in.post(
            PAGE,
            {"failed_push": "on", "time_zone": "Europe/Berlin", "quiet_from": "22:00"},
        )
        page = answer.content.decode()
        assert "Quiet hours need a beginning and an end" in page
        assert 'value="22:00"' in page
        assert not Preferences.unscoped.exists()

    def test_saves(self, signed_in, alice):
        answer = signed_in.post(
            PAGE,
            {
                "failed_push": "on", "budget_mail": "on", "time_zone": "Asia/Tokyo",
                "quiet_from": "22:00", "quiet_until": "07:30", "user_id": "user_x",
            },
        )  # fmt: skip
        assert answer.status_code == 302
        row = Preferences.unscoped.get()
        assert (row.user_id, row.time_zone, str(row.quiet_until)) == (
            alice.pk, "Asia/Tokyo", "07:30:00",
        )  # fmt: skip
        chosen = {(choice.kind, choice.channel) for choice in row.choices.all()}
        assert chosen == {("failed", "push"), ("budget", "mail")}

    @pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../UTC", "x\0"])
    def test_refuses_time_zones_that_do_not_exist(self, signed_in, zone):
        answer = signed_in.post(PAGE, {"time_zone": zone})
        assert answer.status_code in (200, 400)
        assert not Preferences.unscoped.exists()

    def test_says_of_quiet_hours_what_became_of_the_mail(self, signed_in, alice):
        at = timezone.now()
        quiet = {"user": alice, "kind": "failed", "topic": "t", "path": "/", "made_at": at}
        notice = Notice.unscoped.create(key="1", silence="quiet", **quiet)
        page = signed_in.get(PAGE).content.decode()
        assert "Not sent: your quiet hours" in page

        Delivery.unscoped.create(
            notice=notice, channel="mail", label=alice.email, state="sent",
            due_at=at, settled_at=at,
        )  # fmt: skip
        page = signed_in.get(PAGE).content.decode()
        assert "Kept back in your quiet hours, by mail at their end" in page
        assert "Not sent" not in page

    def test_tells_what_became_of_the_last_twenty_at_one_cost(self, signed_in, alice):
        def look():
            with CaptureQueriesContext(connection) as asked:
                return signed_in.get(PAGE).content.decode(), len(asked)

        def add(numbers):
            for number in numbers:
                factories.subscription(alice, session=session)
                notice = Notice.unscoped.create(
                    user=alice, kind="failed", key=f"k{number}", topic="t",
                    title=f"Title-{number:02}", text="acme/shop", path="/roomote/w", made_at=at,
                )  # fmt: skip
                Delivery.unscoped.create(
                    notice=notice, channel="mail", label=alice.email, state="failed",
                    reason="The mail server refused it", due_at=at, settled_at=at,
                )  # fmt: skip

        at, session = timezone.now(), factories.web_session(alice)
        add(range(2))
        look()
        _, few = look()
        add(range(2, 25))
        page, many = look()
        assert page.count("The mail server refused it") == 20
        assert "Title-24" in page
        assert "Title-04" not in page
        assert push.key().public in page
        assert many == few

    def test_shows_nothing_of_another_person(self, client, alice, mallory):
        """A1"""
        factories.subscription(alice, label="canary-browser")
        Notice.unscoped.create(
            user=alice, kind="failed", key="k", topic="t", title="canary-title", text="x",
            path="/", made_at=timezone.now(),
        )  # fmt: skip
        client.force_login(mallory)
        assert "canary" not in client.get(PAGE).content.decode()

    @pytest.mark.django_db(transaction=True)
    def test_sends_a_test_and_no_flood_of_them(self, signed_in, mailoutbox):
        assert "none yet" in signed_in.get(PAGE).content.decode()
        for _ in range(5):
            assert signed_in.post(f"{PAGE}/test").status_code == 302
        assert signed_in.post(f"{PAGE}/test").status_code == 429
        assert "none yet" not in signed_in.get(PAGE).content.decode()

    def test_warns_of_a_person_whom_no_browser_reaches(self, signed_in, alice):
        signed_in.post(BROWSERS, described())
        assert "No browser of yours can be reached" not in signed_in.get(PAGE).content.decode()
        Subscription.unscoped.all().delete()
        assert "No browser of yours can be reached" in signed_in.get(PAGE).content.decode()


def test_the_worker_shows_what_is_pushed(signed_in):
    worker = signed_in.get("/roomote/worker.js").content.decode()
    assert 'addEventListener("push"' in worker
    assert 'addEventListener("notificationclick"' in worker


def test_the_script_is_told_which_browser_it_is(signed_in):
    answer = signed_in.post(BROWSERS, described())
    assert set(json.loads(answer.content)) == {"id", "label"}
    assert tell(news(factories.user("x@x.example"))) == 0
