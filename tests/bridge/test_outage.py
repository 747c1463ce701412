"""What happens on the bridge while the database is away."""

import time

from bridge.models import Command, Instance
from tests import outage
from tests.bridge.conftest import cookies_of, message, token_of, wait_until

SAY = {"type": "message", "taskId": "task-1", "payload": {"text": "go on"}}


def test_what_could_not_be_written_down_is_written_when_the_database_is_back(world, alice):
    """E1: that an editor did what it was told, and that its socket is gone."""
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    answer = browser.ask("task:command", SAY)
    editor.wait("task:relayed_command")

    with outage.of_database():
        editor.emit("task:event", message(9, "go on", say="user_feedback"), None)
        browser.wait("task:relayed_event")
        editor.close()
        browser.wait("instance:lost")
        time.sleep(1.5)  # several rounds of the upkeep
        assert browser.count("command:updated") == 0

    told = browser.wait("command:updated")[0]
    assert (told["commandId"], told["state"]) == (answer["commandId"], "confirmed")
    assert Command.unscoped.get().state == Command.State.CONFIRMED
    wait_until(lambda: not Instance.unscoped.get().sid)


def test_a_command_is_not_sent_that_could_not_be_written_down(world, alice):
    """E1, D2"""
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))

    with outage.of_database():
        refused = browser.ask("task:command", {**SAY, "commandId": "c-1"})

    assert (refused["success"], refused["error"]) == (False, "unavailable")
    assert browser.ask("task:command", {**SAY, "commandId": "c-1"})["success"] is True
    editor.wait("task:relayed_command")
    assert editor.count("task:relayed_command") == 1
