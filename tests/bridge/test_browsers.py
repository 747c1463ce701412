"""Browsers on the bridge: who may connect, who may command, and by which transport."""

from datetime import timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import time_machine
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.test import Client as Browser
from django.utils import timezone

from audit.models import Entry
from bridge.events import EVENTS
from bridge.hub import ClientKind
from bridge.models import Command
from tests import factories
from tests.bridge.conftest import cookies_of, instance, message, token_of

START = {"type": "start_task", "instanceId": "window-1", "payload": {"text": "Mend the till"}}


def poll(
    url: str, cookies: str = "", *, sid: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Status and text of a polling request."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    path = f"/socket.io/?EIO=4&transport=polling&clientType=web&sid={sid}"
    connection.request("GET", path, headers={"Cookie": cookies, **(headers or {})})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


class TestWhoMayConnect:
    """R3, B3"""

    def test_nobody_without_a_session(self, world):
        refused = world.browser("")

        assert "websocket error" in refused.wait("connect_error")[0]
        assert poll(world.url)[0] == 401

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil"])
    def test_no_page_of_another_origin(self, world, alice, origin):
        refused = world.browser(cookies_of(alice), origin=origin)

        refused.wait("connect_error")
        for headers in ({"Origin": origin}, {"Sec-Fetch-Site": "cross-site"}):
            assert poll(world.url, cookies_of(alice), headers=headers)[0] == 403

    def test_the_page_at_the_address_of_the_request(self, world, alice):
        """A deployment that is opened as 127.0.0.1 although it is called localhost."""
        assert world.browser(cookies_of(alice), origin=world.url).wait("connect")

    def test_not_who_signed_out(self, world, alice):
        """B4"""
        browser = world.following_browser(cookies_of(alice))

        Session.objects.all().delete()

        browser.wait("auth_error")
        browser.wait("disconnect")

    def test_an_editors_token_makes_no_browser(self, world, alice):
        refused = world.clients.open(
            "browser", world.url, query={"clientType": "web", "token": token_of(alice)}
        )

        refused.wait("connect_error")

    @pytest.mark.parametrize("kind", ["", "device", "extension"])
    def test_no_unknown_kind_of_client(self, world, alice, kind):
        refused = world.clients.open(
            "browser",
            world.url,
            query={"clientType": kind},
            headers={"Cookie": cookies_of(alice), "Origin": world.url},
        )

        refused.wait("connect_error")


class TestWhoMayCommand:
    """R2"""

    def test_not_by_an_old_sign_in(self, world, alice):
        editor = world.working_editor(token_of(alice))
        with time_machine.travel(timezone.now() - timedelta(days=8)):
            cookies = cookies_of(alice)

        answer = world.following_browser(cookies).ask("extension:command", START)

        assert (answer["success"], answer["error"]) == (False, "forbidden")
        assert answer["reason"].startswith("Sign in again")
        assert editor.count("extension:relayed_command") == 0
        assert not Command.unscoped.exists()

    def test_not_without_the_second_factor_of_who_has_one(self, world, alice):
        world.working_editor(token_of(alice))
        cookies = cookies_of(alice)
        Authenticator.objects.create(user=alice, type=Authenticator.Type.TOTP, data={})

        answer = world.following_browser(cookies).ask("extension:command", START)

        assert answer["error"] == "forbidden"
        assert "second factor" in answer["reason"]

    def test_by_the_second_factor(self, world, alice):
        editor = world.working_editor(token_of(alice))
        Authenticator.objects.create(user=alice, type=Authenticator.Type.TOTP, data={})
        browser = Browser()
        browser.force_login(alice)
        session = browser.session
        session[AUTHENTICATION_METHODS_SESSION_KEY] = [
            {"method": "mfa", "type": "totp", "at": timezone.now().timestamp()}
        ]
        session.save()
        cookies = f"roocloud_session={session.session_key}"

        assert world.following_browser(cookies).ask("extension:command", START)["success"] is True
        editor.wait("extension:relayed_command")

    def test_leaves_a_trace_without_the_words(self, world, alice, acme):
        """I1"""
        world.working_editor(token_of(alice, acme))

        answer = world.following_browser(cookies_of(alice)).ask("extension:command", START)

        entry = Entry.objects.get(action="command.sent")
        assert (entry.actor_id, entry.organization_id) == (alice.pk, acme.pk)
        assert (entry.target_kind, entry.target_id) == ("instance", "window-1")
        assert entry.after["kind"] == "start_task"
        assert len(entry.after["textHash"]) == 64
        row = Command.unscoped.get()
        assert row.pk == answer["commandId"]
        assert "Mend the till" not in f"{entry.after}{entry.note}{vars(row)}"


BROKEN = [
    {},
    {**START, "type": "format_disk"},
    {**START, "payload": None},
    {**START, "payload": {"text": 5}},
    {**START, "instanceId": ""},
    {**START, "payload": {"text": "x", "images": ["x"] * 21}},
    {**START, "commandId": "x" * 129},
    "start_task",
]


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_command_is_refused_by_name(world, alice, body):
    """F5"""
    browser = world.following_browser(cookies_of(alice))

    answer = browser.ask("extension:command", body)

    assert (answer["success"], answer["error"]) == (False, "invalid_command")
    assert answer["issues"][0]["message"]


def test_an_approval_that_names_no_question_is_refused(world, alice):
    """D3"""
    world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))

    answer = browser.ask("task:command", {"type": "approve_ask", "taskId": "task-1", "payload": {}})

    assert answer["error"] == "invalid_command"
    assert answer["issues"] == [
        {"message": "Object missing required field `askTs`", "path": "askTs"}
    ]


def test_the_same_command_again_is_the_same_command(world, alice):
    """D2: a browser that did not hear the answer asks again, and the editor hears it once."""
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    start = {**START, "commandId": "c-1"}

    answers = [browser.ask("extension:command", start) for _ in range(3)]

    assert len({answer["commandId"] for answer in answers}) == 1
    assert all(answer["success"] for answer in answers)
    browser.ask("extension:command", {**START, "commandId": "c-2"})
    editor.wait("extension:relayed_command")
    editor.wait("extension:relayed_command")
    assert editor.count("extension:relayed_command") == 2


def test_a_command_without_an_effect_is_unconfirmed(world, alice):
    """D2: and the sender is told so."""
    world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    answer = browser.ask("extension:command", START)

    Command.unscoped.update(sent_at=timezone.now() - timedelta(seconds=14))

    [told] = browser.wait("command:updated")
    assert (told["commandId"], told["state"]) == (answer["commandId"], "unconfirmed")


@pytest.mark.parametrize(
    ("command", "report"),
    [
        (START, ("taskStarted", {})),
        ({"type": "stop_task", "payload": {"taskId": "task-1"}}, ("taskAborted", {})),
        (
            {"type": "stop_task", "payload": {"taskId": "task-1"}},
            ("taskIdle", {"taskStatus": "idle"}),
        ),
        ({"type": "resume_task", "payload": {"taskId": "t-9"}}, ("taskFocused", {"taskId": "t-9"})),
    ],
)
def test_what_an_editor_does_confirms_what_it_was_told(world, alice, command, report):
    """bridge.md §8.3"""
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    browser.ask("extension:command", {"instanceId": "window-1", **command})
    name, task = report

    event = {"type": name, "instance": instance(task=task), "timestamp": 1}
    editor.emit("extension:event", event, None)

    assert browser.wait("command:updated")[0]["state"] == "confirmed"


def test_two_windows_with_one_task_the_newest_is_told(world, alice):
    """bridge.md §7"""
    token = token_of(alice)
    first = world.working_editor(token)
    second = world.editor(token, window="window-2")
    second.wait("connect")
    second.emit("extension:register", instance(instanceId="window-2"), None)
    second.ask("task:join", {"taskId": "task-1"})
    browser = world.following_browser(cookies_of(alice))

    browser.ask("task:command", {"type": "message", "taskId": "task-1", "payload": {"text": "x"}})

    second.wait("task:relayed_command")
    assert first.count("task:relayed_command") == 0


def test_two_people_may_have_instances_and_tasks_of_the_same_name(world, alice, mallory):
    """R1"""
    hers, theirs = world.working_editor(token_of(alice)), world.working_editor(token_of(mallory))
    browser = world.following_browser(cookies_of(mallory))

    browser.ask("extension:command", START)
    browser.ask("task:command", {"type": "message", "taskId": "task-1", "payload": {"text": "x"}})
    hers.emit("task:event", message(1, "of alice"), None)
    theirs.emit("task:event", message(2, "of mallory"), None)

    theirs.wait("extension:relayed_command")
    theirs.wait("task:relayed_command")
    assert browser.wait("task:relayed_event")[0]["message"]["text"] == "of mallory"
    assert hers.count("extension:relayed_command") == hers.count("task:relayed_command") == 0


class TestLongPolling:
    """For networks that break WebSockets."""

    def test_carries_everything(self, world, alice):
        editor = world.working_editor(token_of(alice))
        browser = world.browser(cookies_of(alice), transports=["polling"])
        assert browser.wait("connect")[1] == "polling"
        browser.ask("task:join", {"taskId": "task-1"})
        for ts in range(1, 50):
            editor.emit("task:event", message(ts), None)

        heard = [browser.wait("task:relayed_event")[0]["message"]["ts"] for _ in range(1, 50)]

        assert heard == list(range(1, 50))
        assert browser.ask("extension:command", START)["success"] is True

    def test_goes_on_over_a_websocket_where_that_works(self, world, alice):
        editor = world.working_editor(token_of(alice))
        browser = world.browser(cookies_of(alice), transports=["polling", "websocket"])
        browser.wait("connect")
        browser.ask("task:join", {"taskId": "task-1"})
        for ts in range(1, 300):
            editor.emit("task:event", message(ts), None)
        browser.wait("upgrade", passed=True)
        for ts in range(300, 400):
            editor.emit("task:event", message(ts), None)

        heard = [browser.wait("task:relayed_event")[0]["message"]["ts"] for _ in range(1, 400)]

        assert heard == list(range(1, 400))

    def test_is_not_for_editors(self, world, alice):
        editor = world.editor(token_of(alice), transports=["polling"])

        editor.wait("connect_error")

    def test_of_somebody_else_is_not_there(self, world, alice, mallory):
        """R3: the id of a connection opens nothing without the cookie."""
        status, opening = poll(world.url, cookies_of(alice))
        assert status == 200
        sid = opening.partition('"sid":"')[2].partition('"')[0]

        cookies = cookies_of(mallory)
        assert poll(world.url, cookies, sid=sid) == poll(world.url, cookies, sid="sid_unknown")
        assert poll(world.url, cookies, sid=sid)[0] == 400


def test_every_event_declares_who_may_send_it_and_by_which_rule():
    """A2"""
    declared = {(event.by.value, event.name) for event in EVENTS.values()}
    assert {one for one in declared if one[0] != "device"} == {  # those: test_device_sockets.py
        ("extension", "extension:register"), ("extension", "extension:unregister"),
        ("extension", "extension:heartbeat"), ("extension", "extension:event"),
        ("extension", "task:join"), ("extension", "task:leave"), ("extension", "task:event"),
        ("web", "task:join"), ("web", "task:leave"),
        ("web", "extension:command"), ("web", "task:command"), ("web", "command:cancel"),
        ("web", "editor:watch"), ("web", "editor:unwatch"),
    }  # fmt: skip
    assert all(event.rule and event.reader for event in EVENTS.values())


@pytest.mark.parametrize("name", sorted({event.name for event in EVENTS.values()}))
def test_an_event_of_the_other_side_is_not_known(world, alice, name):
    """A2, R1: a browser cannot speak as an editor, nor the other way round."""
    mine = {kind: world for kind in ClientKind if (kind, name) in EVENTS}
    sides = {
        ClientKind.WEB: lambda: world.browser(cookies_of(alice)),
        ClientKind.EXTENSION: lambda: world.editor(token_of(alice)),
    }
    for kind, open_ in sides.items():
        if kind in mine:
            continue
        client = open_()
        client.wait("connect")
        assert client.ask(name, {})["error"] == "unknown_event"


def test_nothing_that_the_server_wrote_holds_a_token_or_words(world, alice, caplog):
    """I1"""
    caplog.set_level("DEBUG", logger="bridge")
    session, _ = factories.client_session(alice)
    token = token_of(alice, session=session)
    editor = world.working_editor(token)
    editor.emit("task:event", message(1, "the secret words"), None)
    editor.ask("extension:register", {"task": "the secret words"})
    world.editor("brt_the_wrong_one").wait("connect_error")

    written = "".join(f"{record.getMessage()}{vars(record)}" for record in caplog.records)

    assert token not in written
    assert "secret words" not in written
    assert "brt_the_wrong_one" not in written
