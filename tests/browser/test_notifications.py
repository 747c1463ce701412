"""Turning notifications on in a browser, saying what one wants, and trying them."""

import json

import pytest
from django.utils import timezone

from notifications import preferences
from notifications.models import Preferences, Subscription
from tests.bridge.clients import running
from tests.bridge.conftest import World, token_of
from tests.bridge.test_news import asking, notices
from tests.fakes.push_service import Keys

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: A push service of the browser's own is the one thing that is not here.
_PUSH_SERVICE = """(() => {
  const subscription = %s;
  const unsubscribe = async () => localStorage.removeItem("subscribed");
  const one = { endpoint: subscription.endpoint, toJSON: () => subscription, unsubscribe };
  const known = () => (localStorage.subscribed ? one : null);
  PushManager.prototype.subscribe = async () => ((localStorage.subscribed = 1), known());
  PushManager.prototype.getSubscription = async () => known();
  Object.defineProperty(Notification, "permission", { get: () => "granted" });
  Notification.requestPermission = async () => "granted";
})();"""


def test_a_browser_is_turned_on_and_tried(visitor, alice, mailoutbox):
    keys = Keys()
    given = {
        "endpoint": "https://192.0.2.1/1",
        "keys": {"p256dh": keys.p256dh, "auth": keys.auth},
    }
    one = visitor(timezone_id="Europe/Berlin")
    one.sign_in(alice)
    one.context.add_init_script(_PUSH_SERVICE % json.dumps(given))
    page = one.go("/account/notifications")
    page.get_by_role("button", name="Turn on in this browser").click()
    page.get_by_text("Notifications are on in this browser").wait_for()
    assert Subscription.unscoped.get().user_id == alice.pk
    assert Preferences.unscoped.get().time_zone == "Europe/Berlin"

    assert page.get_by_label("Failed: Browser").is_checked()
    page.get_by_label("Finished: Browser").uncheck()
    page.get_by_label("Failed: E-mail").check()
    page.get_by_label("Quiet from").fill("22:00")
    page.get_by_label("Quiet until").fill("07:00")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert not page.get_by_label("Finished: Browser").is_checked()

    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("Its push service is at an address that is not allowed").wait_for()
    page.get_by_text(f"Mail to {alice.email}: Delivered").wait_for()
    one.look("account-notifications")
    assert len(mailoutbox) == 1

    page.get_by_role("button", name="Turn off in Chrome on Linux").click()
    page.get_by_text("No browser of yours can be reached").wait_for()
    page.get_by_text("Notifications are off in this browser").wait_for()
    one.look("account-notifications-off")
    one.complaints = [said for said in one.complaints if "404" not in said]
    assert not Subscription.unscoped.exists()


_IN_FRONT = """isHidden => {
  Object.defineProperty(document, "hidden", { get: () => isHidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.mark.parametrize("visitor", [("desk", "dark")], ids=["desk"], indirect=True)
def test_who_has_the_task_in_front_of_them_is_told_nothing(visitor, alice, live_url):
    preferences.begin(user_id=alice.pk, time_zone="UTC", at=timezone.now())
    with running() as clients:
        world = World(clients, live_url)
        editor = world.working_editor(token_of(alice))
        one = visitor()
        one.sign_in(alice)
        page = one.go("/roomote/window-1")
        page.wait_for_selector("[data-part=link][data-state=live]")
        silences = []
        for ts, is_hidden in ((5, False), (6, True), (7, False)):
            page.evaluate(_IN_FRONT, is_hidden)
            page.wait_for_timeout(300)  # for the page to say so
            editor.emit("extension:heartbeat", asking(ts=ts))
            silences.append(notices(len(silences) + 1)[-1][2])
    assert silences == ["seen", "", "seen"]
