"""What a process does for its sockets all the time: rights are looked at again, silent ones are
pinged and cut, rows are kept up to date, and commands without an effect end."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from django.db import DatabaseError
from django.utils import timezone

from bridge import (
    command_events,
    commands,
    events,
    figures,
    news,
    packets,
    presence,
    tokens,
    waiting,
    watch_events,
    watching,
)
from bridge.devices import registry, translation
from bridge.devices.courier import Courier
from bridge.hub import ClientKind, Delivery, Hub, Peer, devices_room, relayed, user_room
from bridge.models import Command
from bridge.tokens import Standing
from notifications import actions as notifications
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds between two rounds.
_ROUND_S = 0.25
#: Seconds between two looks at the rights of a socket, and for which the last look is good (B4).
_LOOK_S, STANDS_S = 2.0, 5.0
#: Seconds between two writes of what instances say of themselves, and two searches for what ended.
_WRITE_S, _SEARCH_S = 1.0, 2.0
_AT_ONCE = 500
_START = "extension:relayed_command"


class Upkeep:
    """Runs from ``start`` to ``stop``. is_ending: whether the process lets nobody in any more."""

    def __init__(self, hub: Hub, *, is_ending: Callable[[], bool]) -> None:
        self._hub = hub
        self._is_ending = is_ending
        self._task: asyncio.Task[None] | None = None
        self._courier = Courier(hub)
        self._due: dict[Callable[[], Awaitable[None]], float] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._courier.start()

    async def stop(self) -> None:
        """With what is left to write down."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._courier.stop()
        for job in (self._write_outcomes, self._write_losses, self._tell_people):
            await self._do(job)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_S)
            if self._is_ending():
                for peer in list(self._hub.peers.values()):
                    peer.cut()
            await self._do(self._write_outcomes)
            await self._every(_LOOK_S, self._look)
            await self._every(_WRITE_S, self._write_instances)
            await self._every(_WRITE_S, self._write_losses)
            await self._every(_WRITE_S, self._tell_people)
            await self._every(_SEARCH_S, self._search)
            await self._every(figures.SAMPLE_S, self._sample)
            self._ping(time.monotonic())

    async def _every(self, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        now = time.monotonic()
        if now >= self._due.get(job, 0):
            self._due[job] = now + seconds
            await self._do(job)

    async def _do(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except DatabaseError:
            logger.warning("The bridge's upkeep waits for the database")
        except Exception:
            logger.exception("The bridge's upkeep failed")

    # --- Rights -------------------------------------------------------------------------------

    async def _look(self) -> None:
        for peers in _chunks(list(self._hub.peers.values())):
            await look_again(peers)
        await watch_events.renew(self._hub)

    def _ping(self, now: float) -> None:
        for peer in list(self._hub.peers.values()):
            if peer.pong_due is not None and now >= peer.pong_due:
                peer.cut()
            elif peer.is_connected and now >= peer.ping_at and peer.pong_due is None:
                peer.ping_at = now + packets.PING_INTERVAL_MS / 1000
                peer.pong_due = now + packets.PING_TIMEOUT_MS / 1000
                peer.send(packets.PING)

    # --- Rows ---------------------------------------------------------------------------------

    async def _write_instances(self) -> None:
        changed = [peer for peer in self._hub.peers.values() if peer.is_changed and peer.pk]
        for peers in _chunks(changed):
            for peer in peers:
                peer.is_changed = False
            sightings = [
                events.sighting(self._hub, peer, peer.instance) for peer in peers if peer.instance
            ]
            try:
                await run_db(presence.put, sightings)
            except DatabaseError:
                for peer in peers:
                    peer.is_changed = True
                raise

    async def _write_losses(self) -> None:
        lost = self._hub.lost
        while sockets := lost[:_AT_ONCE]:
            await run_db(presence.lose, sockets)
            del lost[: len(sockets)]  # what could not be written stays

    async def _write_outcomes(self) -> None:
        outcomes = self._hub.outcomes
        while chunk := outcomes[:_AT_ONCE]:
            settled = await run_db(commands.settle, chunk)
            del outcomes[: len(chunk)]  # the same
            self._tell(settled)

    async def _tell_people(self) -> None:
        """What editors wait for, unless its person looks at the task already."""
        waiting_news = self._hub.news
        while chunk := waiting_news[:_AT_ONCE]:
            seen = await self._hub.occupied([news.room_of(one) for one in chunk])
            told = [replace(one, is_seen=news.room_of(one) in seen) for one in chunk]
            await run_db(partial(notifications.tell, told, at=timezone.now()))
            del waiting_news[: len(chunk)]  # the same

    async def _sample(self) -> None:
        self._hub.meter.sample(now=time.monotonic())

    async def _search(self) -> None:
        at = timezone.now()
        for row in await run_db(presence.expire, at=at):
            self._hub.emit(user_room(row.owner_id), events.unregistered(row, at=at))
            self._hub.emit(devices_room(row.owner_id), translation.gone(row.instance_id))
            watch_events.show_ended(self._hub, row, at=at)
        await watch_events.tell_owners(self._hub, await run_db(watching.expire, at=at))
        self._tell(await run_db(commands.expire, at=at))
        self._tell(await run_db(waiting.expire, at=at))
        self._forget_awaited(at)
        await self._start_what_waits()

    def _forget_awaited(self, at: datetime) -> None:
        """What was not confirmed in time is not waited for any more."""
        before_ms = (at - commands.CONFIRMED_WITHIN).timestamp() * 1000
        for peer in self._hub.peers.values():
            for command_id, awaited in list(peer.awaited.items()):
                if awaited.sent_ms <= before_ms:
                    del peer.awaited[command_id]

    async def _start_what_waits(self) -> None:
        windows = [window for peer in self._hub.peers.values() if (window := events.window(peer))]
        for chunk in _chunks(windows):
            claimed = await run_db(waiting.claim, chunk, at=timezone.now())
            for window, row, frame in claimed:
                delivery = Delivery(
                    window.sid, row.pk, row.kind, "", None, packets.event(_START, frame)
                )
                await self._hub.deliver(self._hub.node, delivery)
            self._tell([row for _, row, _ in claimed])

    def _tell(self, rows: Sequence[Command]) -> None:
        for row in rows:
            self._hub.counts[row.state] += 1
            self._hub.emit(user_room(row.sender_id), command_events.receipt(row))
            self._hub.emit(devices_room(row.sender_id), translation.receipt(row))


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


async def standings_of(kind: ClientKind, credentials: Sequence[str]) -> list[Standing | None]:
    """Who holds each credential now. Raises DatabaseError."""
    return await run_db(_STANDINGS[kind], credentials, at=timezone.now())


_STANDINGS = {
    ClientKind.EXTENSION: tokens.standings,
    ClientKind.WEB: tokens.web_standings,
    ClientKind.DEVICE: registry.standings,
}


async def look_again(peers: Sequence[Peer]) -> None:
    """Give each socket the standing that its person has now; cut those that have none (B4)."""
    for kind in ClientKind:
        asked = [peer for peer in peers if peer.kind is kind]
        if not asked:
            continue
        until = time.monotonic() + STANDS_S
        found = await standings_of(kind, [peer.credential for peer in asked])
        for peer, standing in zip(asked, found, strict=True):
            if standing is not None and standing.user_id == peer.standing.user_id:
                peer.standing, peer.stands_until = standing, until if standing.is_on else 0
                if not standing.is_on:
                    peer.cut()
            else:
                turn_out(peer)


def turn_out(peer: Peer) -> None:
    """The editor only writes this down; a browser goes to its sign-in page. What it sends until the
    connection has ended is not heard."""
    peer.stands_until = 0
    peer.send(relayed("auth_error", {"message": "This sign-in has ended"}))
    peer.cut()
