"""Commands while connections break at any moment (D2)."""

import random
import time
from collections import Counter

import pytest

from bridge.models import Command
from tests.bridge.conftest import cookies_of, instance, token_of
from tests.faults.test_money import say


def start(number):
    return {
        "type": "start_task",
        "instanceId": "window-1",
        "payload": {"text": f"start {number}"},
        "commandId": f"c-{number}",
    }


@pytest.mark.parametrize("cuts", [10, pytest.param(200, marks=pytest.mark.faults)])
def test_no_command_arrives_twice_however_connections_break(world, alice, cuts):
    """D2: whoever heard no answer asks again. What was told not to have gone out did not."""
    chance = random.Random(5)  # noqa: S311 - it shuffles a test
    editor = world.working_editor(token_of(alice))
    browser = world.following_browser(cookies_of(alice))
    answers = {}
    for number in range(cuts):
        broken = chance.choice([editor, browser])
        connects = broken.count("connect")
        browser.emit("extension:command", start(number))
        time.sleep(chance.uniform(0, 0.02))
        broken.cut()
        broken.wait("connect", lambda *_, b=broken, n=connects: b.count("connect") > n, passed=True)
        if broken is editor:
            editor.emit("extension:register", instance(), None)
        answers[f"c-{number}"] = browser.ask("extension:command", start(number))

    last = browser.ask("extension:command", start(cuts))
    editor.wait("extension:relayed_command", lambda c: c["payload"]["text"] == f"start {cuts}")

    heard = Counter(
        args[0]["payload"]["text"]
        for name, args in editor.heard
        if name == "extension:relayed_command"
    )
    assert last["success"] is True
    assert max(heard.values()) == 1
    assert Command.unscoped.count() == cuts + 1
    for row in Command.unscoped.filter(key__in=answers):
        said = answers[row.key]
        if not said["success"]:
            assert heard[f"start {row.key.removeprefix('c-')}"] == 0, (row.state, said)
    say(f"D2: {cuts} cuts: {len(heard)} of {cuts + 1} commands arrived, none twice")
