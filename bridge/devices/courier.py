"""What a process does for the devices whose sockets it holds: it brings them what is queued, writes
down what they acknowledge, and says in their rows that they are there (D1)."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from bridge.devices import queue, registry, translation
from bridge.devices.queue import Acknowledgement, Ended, Outgoing, Reach
from bridge.devices.schemas import Receipt
from bridge.hub import Hub, Peer, device_room
from bridge.schemas import Reader
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)

#: Seconds between two looks for what is due to any device: what is new rings the bell.
_LOOK_S = 1.0
#: Seconds between two notes that devices are still there, and two searches for what expired.
_HEAR_S, _SEARCH_S = 20.0, 2.0
#: Seconds of rest after the database did not answer.
_REST_S = 1.0
_AT_ONCE = 200
#: Characters of a device's reason that are kept.
_MOST_REASON = 200
#: The database did not take a statement because it is away or busy: later it will.
_OUTAGES = (OperationalError, InterfaceError)

_receipts = Reader(list[Receipt])


def hear(hub: Hub, peer: Peer, answer: str) -> None:
    """A device's acknowledgement. What names no command that is on its way to it means nothing."""
    try:
        [receipt] = _receipts.read(answer)[:1]
    except (InvalidInput, ValueError):
        logger.info("An acknowledgement was not understood")
        return
    command = peer.in_flight.pop(receipt.id, None)
    if command is not None:
        reason = clean_label(receipt.error or "", _MOST_REASON) or "refused"
        fault = "" if receipt.success else reason
        hub.acknowledged.append(Acknowledgement(command, fault, timezone.now()))
        hub.wake(hub.node, peer.standing.device_pk)


class Courier:
    """Runs from ``start`` to ``stop``."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._task: asyncio.Task[None] | None = None
        self._look_at = self._hear_at = self._search_at = 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """With what is left to write down."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(DatabaseError):
            await self._write()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._hub.bell.wait()
            self._hub.bell.clear()
            try:
                await self._round()
            except DatabaseError:
                logger.warning("Devices wait for the database")
                await asyncio.sleep(_REST_S)
            except Exception:
                logger.exception("The courier failed")
                await asyncio.sleep(_REST_S)

    async def _round(self) -> None:
        await self._write()
        await self._deliver(self._called())
        now = time.monotonic()
        if self._hub.devices and now >= self._hear_at:
            self._hear_at = now + _HEAR_S
            await run_db(registry.hear, list(self._hub.devices), at=timezone.now())
        if now >= self._search_at:
            self._search_at = now + _SEARCH_S
            self._tell(await run_db(queue.expire, at=timezone.now()))

    def _called(self) -> Iterable[str]:
        """The devices that something may be due to: all of them, once in a while."""
        hub, now = self._hub, time.monotonic()
        woken, hub.woken = hub.woken, set()
        if now < self._look_at:
            return woken
        self._look_at = now + _LOOK_S
        return list(hub.devices)

    async def _write(self) -> None:
        hub = self._hub
        while chunk := hub.acknowledged[:_AT_ONCE]:
            try:
                ended = await run_db(queue.acknowledge, chunk)
            except _OUTAGES:
                raise  # what could not be written stays
            except DatabaseError:
                await self._write_singly(len(chunk))
                continue
            del hub.acknowledged[: len(chunk)]
            self._tell(ended)
        while lost := hub.lost_devices[:_AT_ONCE]:
            await run_db(registry.lose, lost)
            del hub.lost_devices[: len(lost)]

    async def _write_singly(self, count: int) -> None:
        """The oldest acknowledgements, without those that the database will never take: one device
        does not hold up all others. The command of such a one is sent again."""
        hub = self._hub
        for one in hub.acknowledged[:count]:
            try:
                ended = await run_db(queue.acknowledge, [one])
            except _OUTAGES:
                raise
            except DatabaseError:
                logger.exception("An acknowledgement cannot be written down")
                ended = []
            del hub.acknowledged[:1]
            self._tell(ended)

    async def _deliver(self, device_pks: Iterable[str]) -> None:
        peers = [peer for pk in device_pks if (peer := self._hub.devices.get(pk)) is not None]
        for start in range(0, len(peers), _AT_ONCE):
            reaches = [self._reach(peer) for peer in peers[start : start + _AT_ONCE]]
            going, ended = await run_db(queue.claim, reaches, at=timezone.now())
            for command in going:
                self._send(command)
            for one in ended:
                if (peer := self._hub.devices.get(one.target_pk)) is not None:
                    peer.in_flight.pop(one.key, None)
            self._tell(ended)

    def _reach(self, peer: Peer) -> Reach:
        now = timezone.now()
        for key in [key for key, one in peer.in_flight.items() if one.expires_at <= now]:
            del peer.in_flight[key]
        free = queue.WINDOW - len(peer.in_flight)
        return Reach(peer.standing.device_pk, peer.sid, max(free, 0))

    def _send(self, command: Outgoing) -> None:
        """One whose device went away meanwhile is sent by its next socket."""
        peer = self._hub.devices.get(command.target_pk)
        is_there = peer is not None and peer.sid == command.sid
        if peer is not None and is_there and command.expires_at > timezone.now():
            peer.in_flight[command.key] = command
            peer.send(command.frame)

    def _tell(self, ended: Sequence[Ended]) -> None:
        """Those who gave the commands."""
        for one in ended:
            self._hub.counts[f"device:{one.state}"] += 1
            owner_id, device_id = one.sender
            frame = translation.outcome(one.key, one.state, one.reason, source=one.target_id)
            self._hub.emit(device_room(owner_id, device_id), frame)
