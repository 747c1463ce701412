"""Several bridges joined by Redis: an editor on one, its owner's browser on another."""

import pytest
import redis
from django.utils import timezone

from bridge import presence
from bridge.models import Instance
from notifications import preferences
from roocloud.asgi import application
from tests.bridge.conftest import cookies_of, instance, message, question, token_of
from tests.bridge.test_news import asking, notices
from tests.live import serving

pytestmark = pytest.mark.postgresql

SAY = {"type": "message", "taskId": "task-1", "payload": {"text": "go on"}}


@pytest.fixture
def elsewhere(world):
    """A second bridge: another event loop with a hub of its own."""
    with serving(application) as url:
        yield url


def following_there(world, url, person):
    browser = world.browser(cookies_of(person), url=url)
    browser.wait("connect")
    assert browser.ask("task:join", {"taskId": "task-1"})["success"] is True
    return browser


def heard_of(browser, editor):
    """Once rooms are joined everywhere: until then what is published may be missed."""
    while True:
        editor.emit("extension:heartbeat", instance(), None)
        editor.emit("task:event", message(0, "?"), None)
        try:
            browser.wait("task:relayed_event", patience_s=0.5)
        except AssertionError:
            continue
        return


def test_what_a_task_streams_crosses_in_order(world, elsewhere, alice):
    editor = world.working_editor(token_of(alice))
    browser = following_there(world, elsewhere, alice)
    heard_of(browser, editor)

    for ts in range(1, 501):
        editor.emit("task:event", message(ts), None)
    heard = []
    while len(heard) < 500:
        ts = browser.wait("task:relayed_event")[0]["message"]["ts"]
        heard += [ts] if ts else []

    assert heard == list(range(1, 501))


def test_a_command_crosses_and_is_answered(world, elsewhere, alice):
    editor = world.working_editor(token_of(alice))
    browser = following_there(world, elsewhere, alice)

    answer = browser.ask("task:command", SAY)

    assert answer["success"] is True
    editor.wait("task:relayed_command")
    editor.emit("task:event", message(9, "go on", say="user_feedback"), None)
    told = browser.wait("command:updated")[0]
    assert (told["commandId"], told["state"]) == (answer["commandId"], "confirmed")


def test_an_approval_is_judged_where_the_editor_is(world, elsewhere, alice):
    """D3"""
    editor = world.working_editor(token_of(alice))
    browser = following_there(world, elsewhere, alice)
    heard_of(browser, editor)
    editor.emit("task:event", question(5), None)
    browser.wait("task:relayed_event", lambda e: e["message"]["ts"] == 5)
    editor.emit("task:event", message(6), None)
    browser.wait("task:relayed_event", lambda e: e["message"]["ts"] == 6)

    approve = {"type": "approve_ask", "taskId": "task-1", "askTs": 5, "payload": {}}

    assert browser.ask("task:command", approve)["error"] == "too_late"
    assert browser.wait("command:updated")[0]["state"] == "failed"
    assert editor.count("task:relayed_command") == 0


def test_the_newest_connection_of_a_window_is_told(world, elsewhere, alice):
    """An editor whose old connection nobody has noticed the end of yet."""
    token = token_of(alice)
    old = world.working_editor(token)
    new = world.editor(token, url=elsewhere)
    new.wait("connect")
    new.emit("extension:register", instance(), None)
    new.ask("task:join", {"taskId": "task-1"})
    browser = world.following_browser(cookies_of(alice))

    assert browser.ask("task:command", SAY)["success"] is True

    new.wait("task:relayed_command")
    assert old.count("task:relayed_command") == 0
    old.close()
    browser.wait("instance:lost")
    assert presence.live_of([alice.pk], at=timezone.now())[alice.pk]
    assert Instance.unscoped.get().sid, "the end of the old connection is not that of the new one"


def test_bridges_find_each_other_again(world, elsewhere, alice, settings):
    """After Redis cut every connection."""
    editor = world.working_editor(token_of(alice))
    browser = following_there(world, elsewhere, alice)
    heard_of(browser, editor)
    with redis.Redis.from_url(settings.REDIS_URL) as server:
        mine = server.connection_pool.connection_kwargs.get("db", 0)
        for connection in server.client_list():
            if int(connection["db"]) == mine and connection["id"] != str(server.client_id()):
                server.client_kill_filter(_id=connection["id"])

    heard_of(browser, editor)
    assert browser.ask("task:command", SAY)["success"] is True
    editor.wait("task:relayed_command")


def test_who_looks_at_another_bridge_is_told_nothing(world, elsewhere, alice):
    preferences.begin(user_id=alice.pk, time_zone="UTC", at=timezone.now())
    editor = world.working_editor(token_of(alice))
    browser = following_there(world, elsewhere, alice)
    heard_of(browser, editor)

    editor.emit("extension:heartbeat", asking())
    assert notices(1) == [("approval", "ask:task-1:5", "seen")]
    browser.ask("task:leave", {"taskId": "task-1"})
    editor.emit("extension:heartbeat", asking(ts=6))
    assert notices(2)[1] == ("approval", "ask:task-1:6", "")
