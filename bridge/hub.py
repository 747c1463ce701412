"""The sockets of this process, the rooms that they are in, and the link to other processes."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from bridge import packets
from bridge.commands import Outcome
from bridge.devices.queue import Acknowledgement, Outgoing
from bridge.effects import Awaited, Question
from bridge.figures import Meter
from bridge.relay import Relay
from bridge.schemas import ExtensionInstance
from bridge.tokens import Standing
from bridge.watching import Watch
from notifications.actions import News
from roocloud.lib.ids import new_id

logger = logging.getLogger(__name__)

#: Bytes that may wait for a socket; one that takes nothing is cut, and repairs itself (D8).
_MOST_WAITING = 64 * 2**20
#: Bytes that wait for a socket from which on it is slow, and hears of what is being written only
#: the latest.
_SLOW = 2**20
#: Seconds that another process is given to say what became of a command.
_ANSWER_S = 4.0


class ClientKind(StrEnum):
    """Which side of the bridge a socket is of, as its handshake says (``clientType``)."""

    EXTENSION = "extension"
    WEB = "web"
    DEVICE = "device"


class Peer:
    """One socket. Everything on it is of its own event loop."""

    __slots__ = (
        "_closing", "_filled", "_thin_at", "_waiting", "_waiting_bytes", "awaited", "credential",
        "device", "ended", "in_flight", "instance", "is_changed", "is_connected", "is_polled",
        "is_upgraded", "kind", "ping_at", "pk", "pong_due", "questions", "rooms", "sid", "standing",
        "stands_until", "tasks", "watch", "watches_until",
    )  # fmt: skip

    def __init__(
        self, *, sid: str, kind: ClientKind, standing: Standing, credential: str, device: str
    ) -> None:
        self.sid = sid
        self.kind = kind
        self.standing = standing
        self.credential = credential  # hash of its token, or key of its web session
        self.device = device
        self.is_connected = False
        self.is_polled = False  # a request waits for its next packet
        self.is_upgraded = False  # from polling to a WebSocket
        self.rooms: set[str] = set()
        # Of the monotonic clock:
        self.stands_until = 0.0  # how long the standing may be relied on (B4)
        self.ping_at = 0.0  # when the next ping is due
        self.pong_due: float | None = None  # when its answer, or CONNECT, must have come
        # Of editors:
        self.instance: ExtensionInstance | None = None
        self.is_changed = False  # it was heard of since its row was written
        self.pk = ""  # of its row
        self.tasks: dict[str, str] = {}  # task id: room that its events go to
        self.questions: dict[str, Question] = {}  # by task id
        self.awaited: dict[str, Awaited] = {}  # by command id
        # Of browsers:
        self.watch: Watch | None = None  # somebody else's editor that it looks at
        self.watches_until = 0.0  # of the monotonic clock: how long it may be relied on (B4)
        # Of devices:
        self.in_flight: dict[str, Outgoing] = {}  # sent and not acknowledged, by id
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._thin_at = _SLOW
        self._filled: asyncio.Future[None] | None = None
        self._closing = False
        self.ended = asyncio.Event()  # for connections that no task writes to all the time

    def send(self, text: str) -> None:
        """Returns at once; the order is kept."""
        if self._closing:
            return
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if self._waiting_bytes > self._thin_at:
            self._thin()
        if self._waiting_bytes > _MOST_WAITING and len(self._waiting) > 1:
            self.cut()
        elif self._filled is not None and not self._filled.done():
            self._filled.set_result(None)

    def _thin(self) -> None:
        """Of each message that is being written only the latest form goes on waiting: it has the
        whole text (protocol/bridge.md §5). Looked for again when twice as much waits."""
        kept: deque[str] = deque()
        later = set()
        for text in reversed(self._waiting):
            written = packets.written(text)
            if written is None or not written.is_partial or written.key not in later:
                kept.appendleft(text)
            if written is not None:
                later.add(written.key)
        self._waiting, self._waiting_bytes = kept, sum(map(len, kept))
        self._thin_at = max(_SLOW, 2 * self._waiting_bytes)

    def cut(self) -> None:
        """End the connection, once what waits is written; the client comes back by itself."""
        self._closing = True
        self.ended.set()
        if self._filled is not None and not self._filled.done():
            self._filled.set_result(None)

    def rest(self, most_bytes: int) -> list[str]:
        """What else waits, up to so much."""
        texts = []
        while self._waiting and most_bytes > 0:
            texts.append(self._waiting.popleft())
            self._waiting_bytes -= len(texts[-1])
            most_bytes -= len(texts[-1])
        return texts

    async def next(self) -> str | None:
        """The next packet to write; None when the connection is to end."""
        while not self._waiting:
            if self._closing:
                return None
            self._filled = asyncio.get_running_loop().create_future()
            await self._filled
        text = self._waiting.popleft()
        self._waiting_bytes -= len(text)
        return text


class Delivery(msgspec.Struct):
    """A command on its way to the process that holds its editor's socket."""

    sid: str
    command_id: str
    kind: str
    task_id: str
    ask_ts: int | None
    frame: str
    node: str = ""  # that waits for the answer


class Answer(msgspec.Struct):
    """result: ``sent``, or why it was not."""

    command_id: str
    result: str


class Wake(msgspec.Struct):
    """Something new is queued for a device."""

    device_pk: str


class Hub:
    """One for each event loop."""

    def __init__(self, *, redis_url: str, deliver: Callable[[Peer, Delivery], str]) -> None:
        self.node = new_id("node")
        self.peers: dict[str, Peer] = {}
        self.sockets: Counter[str] = Counter()  # by whom and by address, for the caps (F3)
        self.meter = Meter()
        self.counts = self.meter.counts
        self.living: set[asyncio.Task[None]] = set()  # of connections that poll
        self._rooms: dict[str, set[Peer]] = {}
        self._deliver = deliver
        self._answers: dict[str, asyncio.Future[str]] = {}
        # To be written down by the upkeep:
        self.outcomes: list[Outcome] = []
        self.lost: list[tuple[str, str]] = []  # see presence.lose
        self.news: list[News] = []  # of what editors wait for, or have done
        # Of devices, for the courier:
        self.devices: dict[str, Peer] = {}  # the newest socket of each, by the key of its row
        self.woken: set[str] = set()  # devices that something may be due to
        self.bell = asyncio.Event()  # there is something to do
        self.acknowledged: list[Acknowledgement] = []  # to be written down
        self.lost_devices: list[tuple[str, str]] = []  # see registry.lose
        self.relay = Relay(redis_url, node=self.node, heard=self._hear) if redis_url else None
        if self.relay:
            self.relay.join(self._own_room(self.node))

    @staticmethod
    def _own_room(node: str) -> str:
        return f"node:{node}"

    async def close(self) -> None:
        if self.relay:
            await self.relay.close()

    # --- Rooms --------------------------------------------------------------------------------

    def enter(self, peer: Peer, room: str) -> None:
        members = self._rooms.setdefault(room, set())
        if not members and self.relay:
            self.relay.join(room)
        members.add(peer)
        peer.rooms.add(room)

    def leave(self, peer: Peer, room: str) -> None:
        peer.rooms.discard(room)
        members = self._rooms.get(room)
        if members is None:
            return
        members.discard(peer)
        if not members:
            del self._rooms[room]
            if self.relay:
                self.relay.leave(room)

    def emit(self, room: str, frame: str, *, but: Peer | None = None) -> None:
        """To everybody in the room, in every process; ``but``: except for this socket."""
        self._pass_on(room, frame, but=but)
        if self.relay:
            self.relay.publish(room, frame)

    def is_heard(self, room: str) -> bool:
        """Whether anybody may be in the room, in any process: else nothing need be made for it."""
        return room in self._rooms or (self.relay is not None and self.relay.is_heard(room))

    def _hear(self, room: str, data: bytes) -> None:
        if room.startswith("node:"):
            self._hear_of_command(data)
        elif room.startswith("watch:"):
            self._show(room, data.decode())
        else:
            self._pass_on(room, data.decode())

    def _pass_on(self, room: str, frame: str, *, but: Peer | None = None) -> None:
        members = self._rooms.get(room, ())
        self.counts["relayed"] += len(members)
        for peer in members:
            if peer is not but:
                peer.send(frame)

    async def occupied(self, rooms: Sequence[str]) -> set[str]:
        """Those of the rooms that somebody is in, in whatever process."""
        here = {room for room in rooms if self._rooms.get(room)}
        elsewhere = [room for room in rooms if room not in here]
        if self.relay is None or not elsewhere:
            return here
        return here | await self.relay.heard_elsewhere(elsewhere)

    # --- Watching -----------------------------------------------------------------------------

    def watch(self, peer: Peer, watch: Watch | None, *, until: float = 0.0) -> None:
        """A browser looks at somebody else's editor from now on, in place of another; at none
        (None)."""
        if peer.watch is not None and peer.watch != watch:
            self.leave(peer, peer.watch.room)
        peer.watch, peer.watches_until = watch, until
        if watch is not None:
            self.enter(peer, watch.room)

    def show(self, room: str, frame: str) -> None:
        """To those who watch an editor, in every process."""
        self._show(room, frame)
        if self.relay:
            self.relay.publish(room, frame)

    def _show(self, room: str, frame: str) -> None:
        """Each is judged again: to be in the room permits nothing (R1)."""
        now = time.monotonic()
        for peer in self._rooms.get(room, ()):
            if peer.watch is not None and peer.watch.room == room and now < peer.watches_until:
                peer.send(frame)

    # --- Commands -----------------------------------------------------------------------------

    async def deliver(self, node: str, delivery: Delivery) -> str:
        """Hand a command to the process that holds its socket, here or elsewhere: ``sent``, why it
        was not, or ``unknown``: then it may have been."""
        if node == self.node:
            return self._deliver_here(delivery)
        if self.relay is None:  # the row is of a process that is gone
            return "instance_offline"
        delivery.node = self.node
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[delivery.command_id] = answer
        try:
            self.relay.send(self._own_room(node), _text(delivery))
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            return "unknown"
        finally:
            self._answers.pop(delivery.command_id, None)

    def settle(self, outcome: Outcome) -> None:
        """Have it written down, and the sender told, in a moment."""
        self.outcomes.append(outcome)

    def _deliver_here(self, delivery: Delivery) -> str:
        peer = self.peers.get(delivery.sid)
        return "instance_offline" if peer is None else self._deliver(peer, delivery)

    def wake(self, node: str, device_pk: str) -> None:
        """Have what is queued for a device brought to it now, by the process that holds its socket.
        If that gets lost, it looks by itself in a moment."""
        if node == self.node:
            self.woken.add(device_pk)
            self.bell.set()
        elif self.relay is not None:
            self.relay.send(self._own_room(node), _text(Wake(device_pk)))

    def _hear_of_command(self, data: bytes) -> None:
        message: Any = msgspec.json.decode(data, type=dict)
        if "device_pk" in message:
            self.wake(self.node, msgspec.convert(message, Wake).device_pk)
            return
        if "result" in message:
            answer = msgspec.convert(message, Answer)
            waiting = self._answers.get(answer.command_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer.result)
        elif self.relay is not None:
            delivery = msgspec.convert(message, Delivery)
            answer = Answer(delivery.command_id, self._deliver_here(delivery))
            self.relay.send(self._own_room(delivery.node), _text(answer))


def user_room(user_id: str) -> str:
    """Browsers of a person."""
    return f"user:{user_id}"


def task_room(owner_id: str, task_id: str) -> str:
    """Browsers that follow a task. Task ids are unique for their owner alone."""
    return f"task:{owner_id}:{task_id}"


def devices_room(owner_id: str) -> str:
    """Devices of a person."""
    return f"devices:{owner_id}"


def device_room(owner_id: str, device_id: str) -> str:
    """One of them, by its own id."""
    return f"device:{owner_id}:{device_id}"


def relayed(name: str, document: object) -> str:
    """An event for clients."""
    return packets.event(name, _text(document))


def _text(document: object) -> str:
    return msgspec.json.encode(document).decode()
