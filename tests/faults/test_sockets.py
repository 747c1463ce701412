"""Sockets of those who mean no good, with the figures that threats.md gives. Run by ``make faults``."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from roocloud.asgi import application
from tests.bridge.conftest import token_of
from tests.bridge.malformed import Sender
from tests.bridge.raw import drained, opened, plugged
from tests.faults.test_money import say
from tests.live import serving

pytestmark = [pytest.mark.faults, pytest.mark.postgresql]

FRAMES, SENDERS = 200_000, 4
SILENT = 5_000


@pytest.fixture
def url(transactional_db, settings):
    settings.ROOCLOUD_BRIDGE_SOCKETS_OF_ONE = settings.ROOCLOUD_BRIDGE_SOCKETS_FROM_ONE = 10**4
    with serving(application) as url:
        yield url


def is_let_in(url, query):
    with opened(url, **query) as editor:
        editor.send("40")
        editor.recv(20)
        return editor.recv(20).startswith("40")


def test_malformed_frames_end_their_connections_alone(url, alice, caplog):
    """F2"""
    query = {"token": token_of(alice), "clientType": "extension"}
    caplog.set_level(logging.ERROR)
    senders = [Sender(url, query, seed) for seed in range(SENDERS)]

    with ThreadPoolExecutor(SENDERS) as pool:
        for done in [pool.submit(sender.send, FRAMES // SENDERS) for sender in senders]:
            done.result()

    faults = [record.getMessage() for record in caplog.records]
    sent = sum(sender.sent for sender in senders)
    say(f"F2: {sent} malformed frames, {len(faults)} faults")
    assert faults == []
    assert is_let_in(url, query)


def test_silent_sockets_are_closed(url, alice):
    """F3"""
    query = {"token": token_of(alice), "clientType": "extension"}
    plugs = [plugged(url, **query) for _ in range(SILENT)]

    for plug in plugs:
        drained(plug)

    say(f"F3: {SILENT} silent sockets were closed")
    assert is_let_in(url, query)
