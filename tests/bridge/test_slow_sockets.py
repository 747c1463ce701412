"""Sockets that take what is sent to them more slowly than it comes."""

import json

import msgspec
import pytest

from bridge import packets
from bridge.devices import translation
from bridge.hub import ClientKind, Peer
from bridge.schemas import TaskEvent
from bridge.tokens import Standing
from tests.bridge.conftest import message


@pytest.fixture
def browser():
    return Peer(sid="sid_1", kind=ClientKind.WEB, standing=Standing("u"), credential="", device="")


def relayed(ts: int, text: str, **changes: object) -> str:
    return packets.event("task:relayed_event", json.dumps(message(ts, text, **changes)))


def received(browser: Peer) -> list[tuple[int, str]]:
    found = []
    for packet in browser.rest(10**9):
        [_, event] = json.loads(packet.removeprefix("42"))
        found.append((event["message"]["ts"], event["message"]["text"]))
    return found


def test_of_what_is_being_written_a_slow_socket_hears_the_latest_and_of_the_rest_all(browser):
    """bridge.md §5: each fragment repeats the whole text so far."""
    written = "word " * 2_000
    expected = []
    for ts in range(20):
        for end in range(100, len(written), 100):
            browser.send(relayed(ts, written[:end], partial=True))
        browser.send(relayed(ts, written))
        browser.send(relayed(1_000 + ts, "whole"))
        expected += [(ts, written), (1_000 + ts, "whole")]

    assert browser._waiting_bytes < 3 * 2**20
    heard = received(browser)
    assert [one for one in heard if one in expected] == expected
    order = [ts for ts, _ in heard if ts < 1_000]
    assert order == sorted(order)


def watched(event: TaskEvent, payload: str) -> list[str]:
    return [packets.event("watch:task_event", payload)]


def on_devices(event: TaskEvent, payload: str) -> list[str]:
    return list(translation.told(event, payload, source="window-1"))


@pytest.mark.parametrize("forms", [watched, on_devices])
def test_so_does_one_that_watches_and_a_device(browser, forms):
    def stream(ts: int, text: str, **changes: object) -> list[str]:
        payload = json.dumps(message(ts, text, say="command_output", **changes))
        return forms(msgspec.json.decode(payload, type=TaskEvent), payload)

    written = "word " * 2_000
    whole = []
    for ts in range(20):
        for end in range(100, len(written), 100):
            for packet in stream(ts, written[:end], partial=True):
                browser.send(packet)
        for packet in stream(ts, written):
            whole.append(packet)
            browser.send(packet)

    assert browser._waiting_bytes < 3 * 2**20
    heard = browser.rest(10**9)
    assert [packet for packet in heard if packet in whole] == whole


def test_messages_of_two_editors_of_one_task_are_two(browser):
    payload = json.dumps(message(1, "x" * 4_000, partial=True))
    event = msgspec.json.decode(payload, type=TaskEvent)
    for window in ["window-1"] + ["window-2"] * 600:
        for packet in translation.told(event, payload, source=window):
            browser.send(packet)

    heard = browser.rest(10**9)
    assert len(heard) < 600
    assert '"window-1"' in heard[0]


def test_a_quick_socket_hears_every_fragment(browser):
    for end in range(1, 50):
        browser.send(relayed(1, "x" * end, partial=True))

    assert len(received(browser)) == 49


def test_what_is_no_message_of_a_task_waits_untouched(browser):
    other = [
        packets.event("extension:relayed_event", json.dumps({"n": n, "x": "y" * 2_000}))
        for n in range(800)
    ]
    for text in other:
        browser.send(text)
        browser.send('42["task:relayed_event",{"taskId":"task-1","type":"taskModeSwitched"}]')

    assert [text for text in browser.rest(10**9) if "extension" in text] == other
