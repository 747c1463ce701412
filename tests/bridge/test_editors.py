"""The stock editor's ways (protocol/bridge.md §1 to §6, traps 35 to 42)."""

import asyncio
import time

import pytest
from django.utils import timezone

from accounts import actions as accounts
from accounts.models import ClientSession
from bridge import events, presence, sockets
from bridge.hub import ClientKind, Hub, Peer
from bridge.models import INSTANCE_LIFETIME, BridgeToken, Instance, Publication
from bridge.packets import parse
from bridge.tokens import Standing
from orgs.models import Membership
from roocloud.lib.ids import digest
from roocloud.lib.wire import dumps
from tests import factories
from tests.bridge.conftest import INSTANCE, cookies_of, instance, message, token_of
from tests.contract.zod import assert_accepted

CONFIG = "/api/extension/bridge/config"


class TestTheConfiguration:
    def test_names_the_bare_origin_and_a_token(self, client, alice, acme, settings):
        """Trap 39: an editor takes a path for a namespace."""
        settings.ROOCLOUD_PUBLIC_URL = "https://cloud.example/roo"
        answer = client.get(CONFIG, headers=factories.bearer(alice, acme)).json()

        assert set(answer) == {"userId", "socketBridgeUrl", "token"}
        assert answer["userId"] == alice.pk
        assert answer["socketBridgeUrl"] == "https://cloud.example"
        row = BridgeToken.unscoped.get()
        assert (row.token_hash, row.organization_id) == (digest(answer["token"]), acme.pk)

    def test_is_given_to_a_job_token_too(self, client, alice):
        headers = factories.bearer(alice, kind="job")

        assert client.get(CONFIG, headers=headers).status_code == 200

    def test_needs_somebody(self, client, db):
        assert client.get(CONFIG).status_code == 401


def test_registration_and_joins_may_come_twice(world, alice):
    """Traps 35 and 36: a second argument of null, and everything again after a reconnection."""
    editor = world.working_editor(token_of(alice))
    for _ in range(2):
        editor.emit("extension:register", instance(), None)
        editor.emit("task:join", {"taskId": "task-1"}, None)
    browser = world.following_browser(cookies_of(alice))

    editor.emit("task:event", message(1), None)

    browser.wait("task:relayed_event")
    assert browser.count("task:relayed_event") == 1
    assert Instance.unscoped.count() == Publication.unscoped.count() == 1


def test_an_editor_comes_back_by_itself_and_goes_on(world, alice):
    """Trap 37: after a reconnection joins are not answered, and the task goes on."""
    token = token_of(alice)
    editor = world.working_editor(token)
    browser = world.following_browser(cookies_of(alice))
    editor.cut()
    browser.wait("instance:lost")
    editor.wait("connect", lambda *_: editor.count("connect") == 2)

    editor.emit("extension:register", instance(), None)
    editor.emit("task:join", {"taskId": "task-1"}, None)
    editor.emit("task:event", message(2), None)

    assert browser.wait("task:relayed_event")[0]["message"]["ts"] == 2
    command = {"type": "message", "taskId": "task-1", "payload": {"text": "go on"}}
    assert browser.ask("task:command", command)["success"] is True
    editor.wait("task:relayed_command")


def test_a_heartbeat_of_five_megabytes_is_taken_in_and_passed_on_without_its_images(world, alice):
    """Trap 38"""
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    image = "data:image/png;base64," + "A" * 5_000_000

    editor.emit("extension:heartbeat", instance(task={"images": [image]}), None)

    [event] = browser.wait("extension:relayed_event", lambda e: e["type"] == "heartbeat_updated")
    assert "images" not in event["instance"]["task"]


def test_events_reach_browsers_by_their_real_names(world, alice):
    """Trap 40, and the spelling of seed 000."""
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    for name in ("taskStarted", "task_completed"):
        editor.emit("extension:event", {"type": name, "instance": instance(), "timestamp": 1}, None)

    [started] = browser.wait("extension:relayed_event", lambda e: e["type"] == "taskStarted")
    browser.wait("extension:relayed_event", lambda e: e["type"] == "taskCompleted")

    assert_accepted("extensionBridgeEventSchema", started, {"1.89.0"})
    assert_accepted("extensionInstanceSchema", started["instance"], {"1.89.0", "1.115.0"})


def test_what_the_server_says_of_instances_parses_too(world, alice):
    editor = world.working_editor(token_of(alice))
    browser = world.browser(cookies_of(alice))
    [registered] = browser.wait("extension:relayed_event")
    editor.emit("extension:unregister", instance(), None)
    [unregistered] = browser.wait(
        "extension:relayed_event", lambda e: e["type"] == "instance_unregistered"
    )

    for event in (registered, unregistered):
        assert_accepted("extensionBridgeEventSchema", event, {"1.89.0"})


def test_an_instance_that_signs_off_takes_no_commands(world, alice):
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    editor.emit("extension:unregister", instance(), None)
    browser.wait("extension:relayed_event", lambda e: e["type"] == "instance_unregistered")

    start = {"type": "start_task", "instanceId": "window-1", "payload": {"text": "x"}}

    assert browser.ask("extension:command", start)["error"] == "instance_offline"


def test_a_silent_instance_ends_after_a_minute_once(world, alice):
    """§6. Two processes look for it; one says so."""
    world.working_editor(token_of(alice))
    later = timezone.now() + INSTANCE_LIFETIME

    ended = [presence.expire(at=later), presence.expire(at=later)]

    assert [len(rows) for rows in ended] == [1, 0]
    assert not presence.live_of([alice.pk], at=later)


BROKEN = [
    {},
    {**INSTANCE, "instanceId": ""},
    {**INSTANCE, "instanceId": "x\0y"},
    {**INSTANCE, "instanceId": "x" * 129},
    {**INSTANCE, "task": None},
    {**INSTANCE, "task": {"taskId": 5, "taskStatus": "running"}},
    {**INSTANCE, "taskHistory": "task-0"},
    [],
    "x",
    None,
    5,
]


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_instance_is_refused_and_the_socket_lives(world, alice, body):
    """F5, R1: every event is read by its shape; the refusal names the field."""
    editor = world.editor(token_of(alice))
    editor.wait("connect")

    answer = editor.ask("extension:register", body)

    assert (answer["success"], answer["error"]) == (False, "invalid_event")
    assert answer["issues"][0]["message"]
    assert Instance.unscoped.count() == 0
    editor.emit("extension:register", instance(), None)
    editor.wait("extension:connected")


class TestAToken:
    """R1, R3, B4"""

    def test_that_nobody_gave_out_is_refused_for_good(self, world):
        editor = world.editor("brt_invented")

        assert "not valid" in editor.wait("connect_error")[0]
        with pytest.raises(AssertionError):  # it would come after 0.5 s at the latest
            editor.wait("connect_error", patience_s=1)

    def test_ends_its_socket_with_the_sign_in_behind_it(self, world, alice):
        session, _ = factories.client_session(alice)
        editor = world.editor(token_of(alice, session=session))
        editor.wait("connect")
        began = time.monotonic()

        ClientSession.unscoped.update(ended_at=timezone.now())

        editor.wait("auth_error")
        assert editor.wait("disconnect")[0] == "transport close"
        assert time.monotonic() - began < 5
        editor.wait("connect_error")

    def test_ends_its_socket_with_the_membership(self, world, bob, acme):
        editor = world.editor(token_of(bob, acme))
        editor.wait("connect")

        Membership.unscoped.filter(user=bob).delete()

        editor.wait("auth_error")

    def test_ends_its_socket_with_the_person(self, world, alice):
        editor = world.editor(token_of(alice))
        editor.wait("connect")

        type(alice).objects.filter(pk=alice.pk).update(is_active=False)

        editor.wait("auth_error")

    def test_opens_nothing_else(self, client, alice):
        """R3"""
        headers = {"Authorization": f"Bearer {token_of(alice)}"}

        for path in ("/api/extension-settings", CONFIG, "/proxy/v1/completions", "/v1/me"):
            assert client.get(path, headers=headers).status_code in (401, 404)


def test_a_session_token_opens_no_bridge(world, alice):
    """R3: each token opens its own routes alone."""
    session, _ = factories.client_session(alice)
    editor = world.editor(factories.bearer(alice)["Authorization"].removeprefix("Bearer "))

    editor.wait("connect_error")
    assert session.ended_at is None


def test_sign_out_of_the_editor_ends_its_bridge(world, alice):
    session, _ = factories.client_session(alice)
    editor = world.editor(token_of(alice, session=session))
    editor.wait("connect")

    accounts.end_session(session=session, by=factories.actor(alice), at=timezone.now())

    editor.wait("auth_error")


def test_what_comes_after_a_sign_in_ended_is_not_heard(transactional_db, alice):
    """B4: also while the connection has yet to close."""
    session, _ = factories.client_session(alice)
    token_hash = digest(token_of(alice, session=session))
    ClientSession.unscoped.update(ended_at=timezone.now())

    async def speak():
        peer = Peer(
            sid="sid_1",
            kind=ClientKind.EXTENSION,
            standing=Standing(alice.pk),
            credential=token_hash,
            device="",
        )
        peer.is_connected = True
        text = f'42["extension:register",{dumps(instance())}]'
        await sockets.take(Hub(redis_url="", deliver=events.deliver), peer, parse(text), text)
        return peer.rest(10**9)

    [told] = asyncio.run(speak())

    assert "auth_error" in told
    assert not Instance.unscoped.exists()
