"""``/api/bridge``: the rules of the socket over HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import time_machine
from django.utils import timezone

from audit.models import Entry
from bridge.models import Command
from tests import factories
from tests.bridge.conftest import cookies_of, message, question, token_of
from tests.bridge.test_pages import see
from tests.bridge.test_waiting import gone_editor

START = {"type": "start_task", "instanceId": "window-1", "payload": {"text": "Mend the till"}}
APPROVE = {"type": "approve_ask", "taskId": "task-1", "askTs": 5, "payload": {}}


def ask(url, method, path, body=None, *, cookies="", key=None, **headers):
    """Status and JSON, as a page of this server asks."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    named = dict(pair.partition("=")[::2] for pair in cookies.split("; "))
    sent = {
        "Content-Type": "application/json",
        "Cookie": cookies,
        "X-CSRFToken": named.get("roocloud_csrf", ""),
    }
    sent |= {"Idempotency-Key": key} if key else {}
    text = json.dumps(body) if body is not None else None
    connection.request(method, f"/api/bridge/{path}", text, {**sent, **headers})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


class TestReading:
    def test_lists_the_editors_of_whoever_asks(self, client, alice, bob, acme):
        see(alice)
        see(bob, instanceId="of bob")
        headers = factories.bearer(alice)

        listed = client.get("/api/bridge/instances", headers=headers).json()["instances"]
        [one] = listed
        found = client.get("/api/bridge/instances/window-1", headers=headers).json()["instance"]

        assert (one["instanceId"], one["state"], one["isConnected"]) == (
            "window-1",
            "running",
            True,
        )
        assert one["instance"]["workspacePath"] == "/home/alice/shop"
        assert found == one

    def test_by_cookie_and_by_each_bearer_and_by_nothing_else(self, client, alice):
        for kind in ("editor", "cli", "job"):
            headers = factories.bearer(alice, kind=kind)
            assert client.get("/api/bridge/instances", headers=headers).status_code == 200
        assert client.get("/api/bridge/instances").status_code == 401
        client.force_login(alice)
        assert client.get("/api/bridge/instances").status_code == 200
        bridge_token = {"Authorization": f"Bearer {token_of(alice)}"}
        assert client.get("/api/bridge/instances", headers=bridge_token).status_code == 401

    def test_of_somebody_else_is_not_there(self, client, alice, mallory):
        """A1"""
        see(alice)
        row = Command.unscoped.create(
            id="cmd_1", key="1", sender=alice, kind="start_task", state="failed",
            given_at=timezone.now(), settled_at=timezone.now(),
        )  # fmt: skip
        headers = factories.bearer(mallory)
        for found, unknown in (
            ("instances/window-1", "instances/window-9"),
            (f"commands/{row.pk}", "commands/cmd_9"),
        ):
            answers = [
                client.get(f"/api/bridge/{path}", headers=headers) for path in (found, unknown)
            ]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].json() == answers[1].json()


class TestACommand:
    """R2, D2, D3"""

    def test_goes_out_once_and_has_a_receipt(self, world, alice):
        editor = world.working_editor(token_of(alice))
        cookies = cookies_of(alice)
        say = {"type": "message", "taskId": "task-1", "payload": {"text": "go on"}}

        status, answer = ask(world.url, "POST", "commands", say, cookies=cookies)

        assert (status, answer["state"], answer["delivered"]) == (202, "sent", True)
        [heard] = editor.wait("task:relayed_command")
        assert (heard["type"], heard["payload"]) == ("message", {"text": "go on"})
        browser = world.following_browser(cookies)
        editor.emit("task:event", message(9, "go on", say="user_feedback"), None)
        browser.wait("command:updated")
        _, receipt = ask(world.url, "GET", f"commands/{answer['commandId']}", cookies=cookies)
        assert (receipt["state"], receipt["type"]) == ("confirmed", "message")
        assert receipt["sentAt"] <= receipt["settledAt"]
        assert Entry.objects.filter(action="command.sent").count() == 1

    @pytest.mark.parametrize("kind", ["editor", "cli", "job"])
    def test_is_refused_to_bearers(self, client, alice, kind):
        """R2: what an editor or a script holds is no sign-in of a person at a browser."""
        headers = factories.bearer(alice, kind=kind)

        answer = client.post(
            "/api/bridge/commands", START, content_type="application/json", headers=headers
        )

        assert answer.status_code == 403
        assert "browser" in answer.json()["error"]
        assert not Command.unscoped.exists()

    def test_is_refused_by_an_old_sign_in(self, world, alice):
        with time_machine.travel(timezone.now() - timedelta(days=8)):
            cookies = cookies_of(alice)

        status, answer = ask(world.url, "POST", "commands", START, cookies=cookies)

        assert (status, answer["code"]) == (403, "forbidden")
        assert answer["error"].startswith("Sign in again")

    def test_is_refused_to_another_page(self, world, alice):
        """R3: the cookie alone is not enough."""
        world.working_editor(token_of(alice))
        cookies = cookies_of(alice)

        status, _ = ask(
            world.url, "POST", "commands", START, cookies=cookies, **{"X-CSRFToken": ""}
        )

        assert status == 403
        assert not Command.unscoped.exists()

    def test_approves_the_pending_question_alone(self, world, alice):
        editor = world.working_editor(token_of(alice))
        cookies = cookies_of(alice)
        browser = world.following_browser(cookies)
        editor.emit("task:event", question(5), None)
        browser.wait("task:relayed_event")

        late = ask(world.url, "POST", "commands", {**APPROVE, "askTs": 4}, cookies=cookies)
        first = ask(world.url, "POST", "commands", APPROVE, cookies=cookies)
        second = ask(world.url, "POST", "commands", APPROVE, cookies=cookies)

        assert (late[0], late[1]["error"]) == (409, "too_late")
        assert (first[0], first[1]["success"]) == (202, True)
        assert (second[0], second[1]["error"]) == (409, "already_answered")
        editor.wait("task:relayed_command")
        assert editor.count("task:relayed_command") == 1

    def test_is_refused_by_name(self, world, alice):
        """F5"""
        cookies = cookies_of(alice)
        for body, field in (({}, "type"), ({**START, "payload": {"text": 5}}, "payload.text")):
            status, answer = ask(world.url, "POST", "commands", body, cookies=cookies)
            assert (status, answer["field"]) == (400, field)
        status, answer = ask(world.url, "POST", "commands", START, cookies=cookies, key="x" * 129)
        assert (status, answer["field"]) == (400, "Idempotency-Key")

    def test_of_somebody_elses_editor_finds_none(self, world, alice, mallory):
        """R1"""
        editor = world.working_editor(token_of(alice))

        status, answer = ask(world.url, "POST", "commands", START, cookies=cookies_of(mallory))

        assert (status, answer["error"]) == (409, "instance_offline")
        assert editor.count("extension:relayed_command") == 0


def test_fifty_at_once_with_one_key_are_one_command(world, alice):
    """C6: one effect, equal answers; another command under the key is refused."""
    editor = world.working_editor(token_of(alice))
    cookies = cookies_of(alice)

    def give(_):
        return ask(world.url, "POST", "commands", START, cookies=cookies, key="start-1")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(give, range(50)))
    other = {**START, "payload": {"text": "Something else"}}
    reused = ask(world.url, "POST", "commands", other, cookies=cookies, key="start-1")

    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 202
    assert (reused[0], reused[1]["code"]) == (422, "idempotency_key_reused")
    editor.wait("extension:relayed_command")
    ask(world.url, "POST", "commands", START, cookies=cookies, key="start-2")
    editor.wait("extension:relayed_command")
    assert editor.count("extension:relayed_command") == Command.unscoped.count() == 2


def test_a_start_that_waits_is_taken_back(world, alice, mallory):
    """D1, A1"""
    gone_editor(world, alice)
    cookies = cookies_of(alice)
    _, given = ask(world.url, "POST", "commands", {**START, "mayWait": True}, cookies=cookies)
    assert given["queued"] is True
    path = f"commands/{given['commandId']}"

    assert ask(world.url, "DELETE", path, cookies=cookies_of(mallory))[0] == 404
    assert ask(world.url, "DELETE", path, cookies=cookies)[1]["state"] == "cancelled"
    assert ask(world.url, "DELETE", path, cookies=cookies)[0] == 409
