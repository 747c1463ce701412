"""What joins the bridges of several processes: Redis, one channel for each room that has members
here, one for this process, and one pipelined write for all that is published in the same moment.

What nobody elsewhere listens to is not published: Redis is asked who does, and a process that
begins to listen says so. It may lose: views repair themselves (D8), and a command whose answer is
lost ends unconfirmed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_PREFIX = "bridge:"
#: The room in which each process says what rooms it has begun to listen to.
_JOINED = "joined"
#: Seconds between two questions who listens.
_LOOK_S = 1.0
#: Seconds until Redis is tried again after it failed.
_AGAIN_S = 1.0
#: Bytes that may wait to be published; what comes while Redis takes nothing is dropped.
_MOST_WAITING = 32 * 2**20
_CONNECT_S, _ANSWER_S = 2.0, 2.0

Heard = Callable[[str, bytes], None]


class Relay:
    """The link of one process. heard: called with the room and what was published there by other
    processes."""

    def __init__(self, url: str, *, node: str, heard: Heard) -> None:
        self._url = url
        self._node = node.encode()
        self._heard = heard
        self._rooms: set[str] = {_JOINED}
        self._changes: list[tuple[str, str]] = []  # SUBSCRIBE or UNSUBSCRIBE, and the room
        self._listening: set[str] = set()  # rooms, as Redis confirmed
        self._published: set[str] = set()  # rooms, since the last question who listens
        self._unheard: set[str] = set()  # rooms that nobody elsewhere listened to at that time
        self._moved: set[str] = set()  # rooms that somebody joined or left since the question
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_bytes = 0
        self._changed, self._filled = asyncio.Event(), asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._for_ever(self._listen)),
            asyncio.create_task(self._for_ever(self._publish)),
            asyncio.create_task(self._for_ever(self._look)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def join(self, room: str) -> None:
        """Hear what others publish in a room, from soon on."""
        if room not in self._rooms:
            self._rooms.add(room)
            self._change("SUBSCRIBE", room)

    def leave(self, room: str) -> None:
        if room in self._rooms:
            self._rooms.discard(room)
            self._change("UNSUBSCRIBE", room)

    def _change(self, verb: str, room: str) -> None:
        self._moved.add(room)
        self._changes.append((verb, room))
        self._changed.set()

    def publish(self, room: str, text: str) -> None:
        """To the other processes that listen. Returns at once."""
        self._published.add(room)
        if room not in self._unheard:
            self.send(room, text)

    def is_heard(self, room: str) -> bool:
        """Whether anybody else may listen. Asking is what lets it be known in a moment."""
        self._published.add(room)
        return room not in self._unheard

    def send(self, room: str, text: str) -> None:
        """The same, whoever is known to listen."""
        if self._waiting_bytes > _MOST_WAITING:
            return
        data = text.encode()
        self._waiting.append((room, data))
        self._waiting_bytes += len(data)
        self._filled.set()

    async def heard_elsewhere(self, rooms: Sequence[str]) -> set[str]:
        """Those of the rooms that other processes listen to now; none while Redis says nothing."""
        client = redis.asyncio.Redis.from_url(
            self._url, socket_timeout=_ANSWER_S, socket_connect_timeout=_CONNECT_S, protocol=2
        )
        try:
            async with client:
                found = await client.pubsub_numsub(*(f"{_PREFIX}{room}" for room in rooms))
        except (RedisError, OSError, TimeoutError):
            return set()
        return {
            room
            for room, (_, count) in zip(rooms, found, strict=True)
            if count > (room in self._listening)
        }

    # --- Connections --------------------------------------------------------------------------

    async def _for_ever(self, work: Callable[[redis.asyncio.Redis], Awaitable[None]]) -> None:
        while True:
            connection = redis.asyncio.Redis.from_url(
                self._url,
                socket_timeout=None,
                socket_connect_timeout=_CONNECT_S,
                protocol=2,
                single_connection_client=True,
            )
            try:
                async with connection as client:
                    await client.initialize()
                    await work(client)
            except (RedisError, OSError, TimeoutError) as fault:
                logger.warning("The bridges are not joined", extra={"fault": type(fault).__name__})
            await asyncio.sleep(_AGAIN_S)

    async def _publish(self, client: redis.asyncio.Redis) -> None:
        connection: Any = client.connection
        await connection.send_command("CLIENT", "REPLY", "OFF", check_health=False)
        # Nothing is answered; the end of the connection is noticed by reading alone.
        ended = asyncio.create_task(connection.read_response(timeout=None))
        ended.add_done_callback(lambda _: self._filled.set())
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                if ended.done():
                    await ended
                waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
                packed = b"".join(self._packed(room, data) for room, data in waiting)
                await connection.send_packed_command(packed, check_health=False)
        finally:
            ended.cancel()
            self._filled.set()  # what waits goes out over the next connection

    def _packed(self, room: str, data: bytes) -> bytes:
        """PUBLISH, in Redis' protocol. The sender's name goes before what is published."""
        channel, text = f"{_PREFIX}{room}".encode(), self._node + b" " + data
        return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(channel), channel, len(text), text,
        )  # fmt: skip

    async def _listen(self, client: redis.asyncio.Redis) -> None:
        connection: Any = client.connection
        self._changes = [("SUBSCRIBE", room) for room in sorted(self._rooms)]
        self._changed.set()
        changing = asyncio.create_task(self._subscribe(connection))
        try:
            while not changing.done():
                kind, channel, *rest = await connection.read_response(
                    disable_decoding=True, timeout=None
                )
                if kind == b"message":
                    self._hear(channel, rest[0])
                else:
                    self._confirm(kind, channel[len(_PREFIX) :].decode())
        finally:
            self._listening, self._unheard = set(), set()
            changing.cancel()
            with suppress(asyncio.CancelledError):
                await changing

    def _confirm(self, kind: bytes, room: str) -> None:
        self._moved.add(room)
        if kind == b"subscribe":
            self._listening.add(room)
            self.send(_JOINED, room)
        else:
            self._listening.discard(room)

    async def _look(self, client: redis.asyncio.Redis) -> None:
        """Ask again and again who listens to what is published here: an answer is good until then,
        or until somebody joins."""
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                self._unheard = await self._ask(client)
        finally:
            self._unheard = set()

    async def _ask(self, client: redis.asyncio.Redis) -> set[str]:
        """Of the rooms published in since the last question, those that nobody else listens to."""
        rooms, self._published, self._moved = list(self._published), set(), set()
        if not rooms:
            return set()
        async with asyncio.timeout(_ANSWER_S):
            found = await client.pubsub_numsub(*(f"{_PREFIX}{room}" for room in rooms))
        if _JOINED not in self._listening:  # a process that joins would not be heard of
            return set()
        return {
            room
            for room, (_, count) in zip(rooms, found, strict=True)
            if room not in self._moved and count <= (room in self._listening)
        }

    async def _subscribe(self, connection: Any) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, self._changes = self._changes, []
            packed = [
                packed
                for verb, room in changes
                for packed in connection.pack_command(verb, f"{_PREFIX}{room}")
            ]
            await connection.send_packed_command(packed, check_health=False)

    def _hear(self, channel: bytes, data: bytes) -> None:
        node, _, text = data.partition(b" ")
        if node == self._node:
            return
        room = channel[len(_PREFIX) :].decode()
        if room == _JOINED:
            joined = text.decode()
            self._moved.add(joined)
            self._unheard.discard(joined)
            return
        try:
            self._heard(room, text)
        except Exception:
            logger.exception("What another bridge said was not understood")
