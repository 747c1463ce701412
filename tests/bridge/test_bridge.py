"""Editors and browsers on one bridge, with the published client."""

import pytest

from bridge.models import Instance
from tests.bridge.conftest import cookies_of, instance, message, question, token_of, wait_until
from tests.roocloud.test_metrics import scrape


def test_what_a_task_streams_reaches_its_owner_as_it_came(world, alice):
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    event = message(1, "half a pair \ud83d and a new field") | {"later": {"x": [1]}}

    editor.emit("task:event", event, None)

    assert browser.wait("task:relayed_event") == [event]


def test_a_browser_is_told_of_the_editors_that_are_there(world, alice):
    world.working_editor(token_of(alice))

    browser = world.browser(cookies_of(alice))

    [event] = browser.wait("extension:relayed_event")
    assert event["type"] == "instance_registered"
    assert event["instance"]["workspacePath"] == "/home/alice/shop"


def test_a_browser_is_told_which_of_them_have_lost_their_connection(world, alice):
    world.working_editor(token_of(alice)).close()
    wait_until(lambda: not Instance.unscoped.get().sid)

    browser = world.browser(cookies_of(alice))

    browser.wait("extension:relayed_event")
    assert browser.wait("instance:lost") == [{"instanceId": "window-1"}]


def test_a_message_goes_to_the_editor_and_is_confirmed_by_what_it_reports(world, alice):
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    command = {"type": "message", "taskId": "task-1", "payload": {"text": "and the tests"}}

    answer = browser.ask("task:command", command)

    [heard] = editor.wait("task:relayed_command")
    assert answer["success"] is True
    assert heard.pop("timestamp") > 0
    assert heard == command
    editor.emit("task:event", message(2, "and the tests", say="user_feedback"), None)
    [told] = browser.wait("command:updated")
    assert (told["commandId"], told["state"]) == (answer["commandId"], "confirmed")


def approve(ts):
    return {"type": "approve_ask", "taskId": "task-1", "askTs": ts, "payload": {}}


def test_an_approval_goes_to_the_question_that_was_seen(world, alice):
    """D3"""
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    editor.emit("task:event", question(5), None)
    browser.wait("task:relayed_event")

    late = browser.ask("task:command", approve(4))
    first = browser.ask("task:command", approve(5))
    second = browser.ask("task:command", approve(5))

    assert (late["success"], late["error"]) == (False, "too_late")
    assert first["success"] is True
    assert (second["success"], second["error"]) == (False, "already_answered")
    [heard] = editor.wait("task:relayed_command")
    assert heard["type"] == "approve_ask"
    assert heard["payload"] == {}
    assert "askTs" not in heard


@pytest.mark.parametrize("who", ["bob", "mallory"])
def test_nobody_else_sees_or_commands_an_editor(world, request, alice, acme, who):
    """R1"""
    editor = world.working_editor(token_of(alice, acme))
    owner = world.following_browser(cookies_of(alice))
    other = world.following_browser(cookies_of(request.getfixturevalue(who)))
    start = {"type": "start_task", "instanceId": "window-1", "payload": {"text": "rm -rf /"}}

    editor.emit("task:event", message(1), None)
    editor.emit("extension:heartbeat", instance(), None)
    owner.wait("task:relayed_event")
    owner.wait("extension:relayed_event", lambda e: e["type"] == "heartbeat_updated")
    refusals = [
        other.ask("extension:command", start)["error"],
        other.ask(
            "task:command", {"type": "message", "taskId": "task-1", "payload": {"text": "x"}}
        )["error"],
    ]

    assert refusals == ["instance_offline", "task_not_found"]
    assert [name for name, _ in other.heard if "relayed" in name] == []
    assert editor.count("extension:relayed_command") == 0


def test_the_figures_say_who_is_connected_and_what_went_over(world, alice, client):
    """bridge.md §8.5"""
    before = scrape(client)
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    editor.emit("task:event", message(1), None)
    browser.wait("task:relayed_event")
    browser.ask("task:command", approve(1))  # it is no question: not sent
    browser.wait("command:updated")

    after = scrape(client)

    assert after("roocloud_bridge_sockets", "extension") == 1
    assert after("roocloud_bridge_sockets", "web") == 1
    failed = [now("roocloud_bridge_commands_total", "failed") or 0 for now in (before, after)]
    assert failed[1] == failed[0] + 1
    assert after("roocloud_bridge_events_total") > (before("roocloud_bridge_events_total") or 0)
    assert after("roocloud_bridge_relayed_total") > (before("roocloud_bridge_relayed_total") or 0)
