"""What no client sends costs its own connection, and nobody else's (F2, F3)."""

import logging
import time

import pytest
from websockets.exceptions import InvalidStatus

from bridge import sockets
from roocloud.asgi import application
from tests.bridge.conftest import token_of
from tests.bridge.malformed import FRAMES, PACKETS, Sender
from tests.bridge.raw import PATIENCE_S, drained, frame, opened, plugged, said
from tests.live import serving

SEED, FRAMES_SENT = 20, 1_500


@pytest.fixture
def url(transactional_db):
    with serving(application) as url:
        yield url


def editor_of(person):
    return {"token": token_of(person), "clientType": "extension"}


def faults(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_malformed_frames_are_no_fault_of_ours(url, alice, caplog):
    Sender(url, editor_of(alice), SEED).send(FRAMES_SENT)

    with opened(url, **editor_of(alice)) as editor:
        editor.send("40")
        editor.recv(20)
        assert editor.recv(20).startswith("40")
    assert faults(caplog) == []


@pytest.mark.parametrize("number", range(len(PACKETS)))
def test_a_malformed_packet_ends_its_connection(url, alice, caplog, number):
    plug = plugged(url, **editor_of(alice))

    plug.sendall(frame(b"40") + frame(PACKETS[number].encode()))

    drained(plug)
    assert faults(caplog) == []


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_a_malformed_frame_ends_its_connection(url, alice, caplog, number):
    plug = plugged(url, **editor_of(alice))

    plug.sendall(frame(b"40") + FRAMES[number])

    drained(plug)
    assert faults(caplog) == []


HANDSHAKES = [
    {}, {"EIO": "3"}, {"EIO": "4x"}, {"clientType": "extension"}, {"clientType": "web"},
    {"clientType": "phone"}, {"clientType": "extension", "token": ""},
    {"clientType": "web", "sid": "x" * 3000}, {str(n): "x" for n in range(200)},
]  # fmt: skip


@pytest.mark.parametrize("query", HANDSHAKES)
def test_a_malformed_handshake_is_refused(url, query, caplog):
    with pytest.raises(InvalidStatus) as refused, opened(url, **query):
        pass

    assert 400 <= refused.value.response.status_code < 500
    assert faults(caplog) == []


def test_an_unknown_token_is_told_so_and_cut(url, caplog):
    """By a connect error, the one refusal after which an editor does not try again (trap 37); at
    once, and not when its CONNECT comes (F3)."""
    with opened(url, clientType="extension", token="brt_\x00💥") as stranger:
        [_, refusal] = said(stranger)

    assert refusal.startswith("44{")
    assert faults(caplog) == []


@pytest.mark.parametrize("packet", ["", "2", "42[]"])
def test_a_socket_that_does_not_connect_is_closed(url, alice, monkeypatch, packet):
    monkeypatch.setattr(sockets, "_CONNECT_S", 0.5)

    with opened(url, **editor_of(alice)) as silent:
        if packet:
            silent.send(packet)
        said(silent)


def refused_at(url, person):
    """How one more socket of a person is answered, if it is refused."""
    try:
        with opened(url, **editor_of(person)):
            return None
    except InvalidStatus as refused:
        return refused.response


def until_let_in(url, person):
    deadline = time.monotonic() + PATIENCE_S
    while refused_at(url, person) is not None:
        assert time.monotonic() < deadline, "the socket that ended still counts"


def test_a_person_has_a_share_of_the_sockets(url, alice, bob, settings):
    settings.ROOCLOUD_BRIDGE_SOCKETS_OF_ONE = 2

    with opened(url, **editor_of(alice)), opened(url, **editor_of(alice)) as second:
        third = refused_at(url, alice)
        assert refused_at(url, bob) is None
        second.close()
        until_let_in(url, alice)

    assert third.status_code == 429
    assert int(third.headers["Retry-After"]) > 0


def test_an_address_has_a_share_of_the_sockets(url, alice, bob, settings):
    settings.ROOCLOUD_BRIDGE_SOCKETS_FROM_ONE = 2

    with opened(url, **editor_of(alice)), opened(url, **editor_of(bob)) as second:
        third = refused_at(url, bob)
        second.close()
        until_let_in(url, bob)

    assert third.status_code == 429
