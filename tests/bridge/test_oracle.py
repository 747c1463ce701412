"""The bridge beside python-socketio: what a client says is answered in the same packets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import ACK, CONNECT, CONNECT_ERROR, EVENT, Packet
from websockets.exceptions import ConnectionClosed

from bridge import packets
from bridge.packets import Kind
from bridge.sockets import MAX_MESSAGE
from roocloud.asgi import application
from tests.bridge.conftest import instance, token_of
from tests.bridge.raw import opened, said
from tests.live import serving

REGISTER = "42" + json.dumps(["extension:register", instance(), None])
FENCE, PASSED = '42999["task:leave",{"taskId":"fence"}]', "43999"
TASK = {"taskId": "task-1"}


def oracle() -> Any:
    """A server that does with python-socketio's means what the bridge does for an editor."""
    sio = socketio.AsyncServer(
        async_mode="asgi", async_handlers=False, max_http_buffer_size=MAX_MESSAGE,
        ping_interval=packets.PING_INTERVAL_MS / 1000, ping_timeout=packets.PING_TIMEOUT_MS / 1000,
    )  # fmt: skip

    @sio.on("connect")
    async def connect(sid: str, environ: dict[str, Any], auth: object = None) -> None:
        pass

    @sio.on("extension:register")
    async def register(sid: str, document: dict[str, Any], *_: object) -> None:
        told = {"instanceId": document["instanceId"], "timestamp": 0}
        await sio.emit("extension:connected", told, to=sid)

    @sio.on("task:join")
    @sio.on("task:leave")
    async def join(sid: str, task: dict[str, Any], *_: object) -> dict[str, Any]:
        return {"success": True, "taskId": task["taskId"], "timestamp": ""}

    return socketio.ASGIApp(sio)


@pytest.fixture(scope="module")
def theirs() -> Iterator[str]:
    with serving(oracle()) as url:
        yield url


@pytest.fixture
def ours(transactional_db) -> Iterator[str]:
    with serving(application) as url:
        yield url


@contextmanager
def editors(ours: str, theirs: str, person: Any) -> Iterator[list[Any]]:
    query = {"token": token_of(person), "clientType": "extension"}
    with opened(ours, **query) as one, opened(theirs, **query) as other:
        yield [one, other]


def alike(packet: str) -> tuple[str, Any]:
    """A packet without what differs from one server to the next: its ids, and the time."""
    start = min((at for mark in "{[" if (at := packet.find(mark)) >= 0), default=len(packet))
    document = json.loads(packet[start:]) if packet[start:] else None
    for part in document if isinstance(document, list) else [document]:
        if isinstance(part, dict):
            part |= {name: "…" for name in ("sid", "timestamp") if name in part}
    return packet[:start], document


def test_the_opening_says_the_same(ours, theirs, alice):
    with editors(ours, theirs, alice) as both:
        mine, wanted = [alike(editor.recv(20)) for editor in both]

    assert mine == wanted


CONVERSATIONS = {
    "a connection": ["40"],
    "a connection with a payload": ['40{"token":"x"}'],
    "a connection to the namespace of all": ["40/,"],
    "a registration with an idle second argument": ["40", REGISTER],
    "a join with an acknowledgement": ["40", REGISTER, '421["task:join",{"taskId":"task-1"}]'],
    "the same with an idle second argument": [
        "40", REGISTER, '420["task:join",{"taskId":"task-1"},null]',
    ],
    "a join with blanks": ["40", REGISTER, '427[ "task:join" , {"taskId": "task-1"} , null ]'],
    "more arguments than are read": ["40", REGISTER, '427["task:join",{"taskId":"task-1"},{"x":1},2]'],
    "a join that awaits no answer": ["40", REGISTER, '42["task:join",{"taskId":"task-1"},null]'],
    "an acknowledgement's number of ten digits": [
        "40", REGISTER, '421234567890["task:join",{"taskId":"task-1"}]',
    ],
    "events in a row": [
        "40", REGISTER, '421["task:join",{"taskId":"a"}]', '422["task:leave",{"taskId":"a"}]',
        '423["task:join",{"taskId":"ä \\u00e9 \\"b"}]',
    ],
    "an answer to a ping": ["40", "3"],
    "an acknowledgement of nothing": ["40", "430[]"],
}  # fmt: skip


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_a_conversation_goes_the_same_way(ours, theirs, alice, case):
    opening, *script = CONVERSATIONS[case]
    found = []
    with editors(ours, theirs, alice) as both:
        for editor in both:
            for packet in [opening, *script, FENCE]:
                editor.send(packet)
            found.append([alike(packet) for packet in said(editor, until=PASSED)])

    mine, wanted = found
    assert mine == wanted
    assert mine[1][0] == "40"


def test_another_namespace_is_refused_by_itself_alone(ours, theirs, alice):
    found = []
    with editors(ours, theirs, alice) as both:
        for editor in both:
            for packet in ["40/admin,", "40", FENCE]:
                editor.send(packet)
            found.append(said(editor, until=PASSED)[1:])

    for refused, connected in found:
        assert refused.startswith("44/admin,")
        assert connected.startswith('40{"sid":')


NOT_PACKETS = [
    "4", "40{", "42", "42[", "42{}", "42[]", "42[1,2]", '42["task:join"', '42x["task:join",{}]',
    '42/other,["task:join",{}]', "43", "45-", "49", "7", "9", "hello", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("packet", NOT_PACKETS)
def test_what_is_no_packet_is_answered_by_neither(ours, theirs, alice, packet):
    """We end the connection, as node's server does; python-socketio logs a fault and goes on."""
    found = []
    with editors(ours, theirs, alice) as both:
        for editor in both:
            with suppress(ConnectionClosed):  # before the rest was sent
                for said_ in ["40", packet, FENCE]:
                    editor.send(said_)
            found.append([alike(heard) for heard in said(editor, until=PASSED)])

    mine, wanted = found
    assert mine == wanted


#: With what means something in a packet, and what takes two and four bytes.
TEXT = st.text('az09:,"\\[]{}- \n\x00é💥', max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = TEXT.filter(bool) | st.integers(1, 90).map("n".__mul__)


@given(
    name=NAMES, arguments=st.lists(JSON, max_size=3), number=st.none() | st.integers(0, 10**15 - 1)
)
def test_an_event_that_they_write_is_read(name, arguments, number):
    text = f"4{Packet(EVENT, data=[name, *arguments], id=number).encode()}"
    packet = packets.parse(text)
    if arguments and packet.payload:  # as sockets._event does with what is not one value
        try:
            json.loads(packet.payload)
        except ValueError:
            packet = packets.again(text)

    assert (packet.kind, packet.name) == (Kind.EVENT, name)
    assert packet.ack_id == ("" if number is None else str(number))
    if arguments:
        assert json.loads(packet.payload) == arguments[0]


@given(name=st.from_regex(r"[a-z:_]{1,40}", fullmatch=True), document=JSON)
def test_an_event_that_is_written_is_read_by_them(name, document):
    read = Packet(encoded_packet=packets.event(name, json.dumps(document))[1:])

    assert (read.packet_type, read.data) == (EVENT, [name, document])


def test_the_other_packets_are_read_by_them():
    answer = {"success": True, "taskId": "ä"}
    refusal = packets.refused("No", namespace="/admin")
    written = [packets.ack("12", answer), packets.connected("sid-1"), refusal]
    read = [Packet(encoded_packet=packet[1:]) for packet in written]

    assert [packet.packet_type for packet in read] == [ACK, CONNECT, CONNECT_ERROR]
    assert [packet.data for packet in read] == [[answer], {"sid": "sid-1"}, {"message": "No"}]
    assert (read[0].id, read[2].namespace) == (12, "/admin")
