"""The messages that devices send over their sockets (protocol/bridge.md §8.2).

Commands for another device of the same person are queued until it acknowledges them; those for one
of the person's editors go out once, as a browser's do. Everything else is told to whoever is there.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from django.db import DatabaseError
from django.utils import timezone

from bridge import command_events, packets
from bridge.devices import orders, registry, translation
from bridge.devices.orders import Order, Placed
from bridge.devices.schemas import Envelope, Facts
from bridge.events import event
from bridge.hub import ClientKind, Hub, Peer, device_room, devices_room
from bridge.schemas import Reader
from roocloud.lib.batches import Batches
from roocloud.lib.refusals import InvalidInput, NotFound, Refusal
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)

_OWN = "the device that the token is of, whatever the message says"
_COMMANDS = (
    "a device or an editor of the same person; by a device that was confirmed within"
    " ROOCLOUD_COMMAND_SIGN_IN_S"
)
_REPORTS = "other devices of the same person that are there"

_facts = Reader(Facts)


async def _place(given: Sequence[Order]) -> list[Placed | Exception]:
    return await run_db(orders.place, given)


async def _look_up(asked: Sequence[tuple[str, str]]) -> list[bool]:
    return await run_db(registry.connected, asked, at=timezone.now())


_orders: Batches[Order, Placed] = Batches(_place)
_connected: Batches[tuple[str, str], bool] = Batches(_look_up)


def _accepted(envelope: Envelope, status: str) -> dict[str, Any]:
    return {"success": True, "id": envelope.id, "status": status}


def _rejected(envelope: Envelope, error: str, refusal: Refusal | None = None) -> dict[str, Any]:
    answer = {"success": False, "id": envelope.id, "status": "rejected", "error": error}
    if refusal is None:
        return answer
    return {**answer, "issues": [{"message": refusal.message, "path": refusal.field or ""}]}


# --- Commands ---------------------------------------------------------------------------------


async def _give(
    hub: Hub, peer: Peer, envelope: Envelope, payload: str, *, kind: str
) -> dict[str, Any]:
    try:
        if envelope.target_device_id is None:
            raise InvalidInput("is missing", field="targetDeviceId")
        order = orders.order_of(envelope, kind=kind, by=peer.standing, at=timezone.now())
        placed = await _orders.submit(order)
    except NotFound:
        return await _to_editor(hub, peer, envelope, order)
    except Refusal as refusal:
        return _rejected(envelope, refusal.code, refusal)
    except DatabaseError:
        logger.exception("A device's command was not queued")
        return _rejected(envelope, "unavailable")
    if placed.node:
        hub.wake(placed.node, placed.target_pk)
    return _accepted(envelope, "queued" if placed.is_new else "duplicate")


async def _to_editor(hub: Hub, peer: Peer, envelope: Envelope, order: Order) -> dict[str, Any]:
    """What is no device may be an editor. It gets commands once, and acknowledges none (D2)."""
    try:
        command = translation.command_of(order)
    except InvalidInput as fault:
        return _rejected(envelope, fault.code, fault)
    if command is None:
        return _rejected(envelope, "unsupported")
    answer = await command_events.give(hub, command, by=peer.standing, device=peer.device)
    if not answer["success"]:
        return _rejected(envelope, answer["error"])
    return _accepted(envelope, "queued" if answer["queued"] else "delivered")


for _kind in sorted(orders.COMMANDS):
    event(_kind, Envelope, by=ClientKind.DEVICE, rule=_COMMANDS)(partial(_give, kind=_kind))


# --- What happens -----------------------------------------------------------------------------


async def _report(
    hub: Hub, peer: Peer, envelope: Envelope, payload: str, *, kind: str
) -> dict[str, Any]:
    owner_id, target = peer.standing.user_id, envelope.target_device_id
    try:
        frame = _frame(envelope, kind, peer)
        if target is not None and not await _connected.submit((owner_id, target)):
            return _rejected(envelope, "device_offline")
    except Refusal as refusal:
        return _rejected(envelope, refusal.code, refusal)
    room = devices_room(owner_id) if target is None else device_room(owner_id, target)
    hub.emit(room, frame, but=peer)
    return _accepted(envelope, "delivered")


def _frame(envelope: Envelope, kind: str, peer: Peer) -> str:
    """As others get it. Raises InvalidInput and TooLarge."""
    if envelope.id is None:
        raise InvalidInput("is missing", field="id")
    orders.payload_of(envelope)
    envelope.type, envelope.source_device_id = kind, peer.standing.device_id
    return packets.event(kind, msgspec.json.encode(envelope).decode())


REPORTS = (
    "device_status", "tool_start", "tool_progress", "tool_complete", "tool_error", "file_change",
    "file_create", "file_delete", "conversation_update", "sync_status", "error",
)  # fmt: skip
for _kind in REPORTS:
    event(_kind, Envelope, by=ClientKind.DEVICE, rule=_REPORTS)(partial(_report, kind=_kind))


# --- The device itself ------------------------------------------------------------------------


@event("device_register", Envelope, by=ClientKind.DEVICE, rule=_OWN)
async def register(hub: Hub, peer: Peer, envelope: Envelope, payload: str) -> dict[str, Any]:
    """What it is called and can do. A new key needs a new pairing (R4)."""
    try:
        facts = _facts.read(orders.payload_of(envelope))
        change = partial(registry.change_own, device_pk=peer.standing.device_pk, facts=facts)
        await run_db(change, at=timezone.now())
    except Refusal as refusal:
        return _rejected(envelope, refusal.code, refusal)
    return _accepted(envelope, "delivered")


@event("device_disconnect", Envelope, by=ClientKind.DEVICE, rule=_OWN)
async def disconnect(hub: Hub, peer: Peer, envelope: Envelope, payload: str) -> dict[str, Any]:
    """It goes: the others are told as its connection ends."""
    asyncio.get_running_loop().call_soon(peer.cut)  # behind the answer
    return _accepted(envelope, "delivered")


# --- Its socket -------------------------------------------------------------------------------


async def _connect(sockets: Sequence[tuple[str, str, str]]) -> list[None]:
    await run_db(registry.connect, sockets, at=timezone.now())
    return [None] * len(sockets)


_connects: Batches[tuple[str, str, str], None] = Batches(_connect)


async def enter(hub: Hub, peer: Peer) -> None:
    """A device is there: what is queued is brought to it. An earlier socket of it ends."""
    standing = peer.standing
    earlier = hub.devices.get(standing.device_pk)
    hub.devices[standing.device_pk] = peer
    if earlier is not None:
        earlier.cut()
    for room in (
        devices_room(standing.user_id),
        device_room(standing.user_id, standing.device_id),
    ):
        hub.enter(peer, room)
    await _connects.submit((standing.device_pk, hub.node, peer.sid))
    hub.emit(devices_room(standing.user_id), translation.status(standing.device_id), but=peer)
    hub.wake(hub.node, standing.device_pk)


def leave(hub: Hub, peer: Peer) -> None:
    """The socket of a device ended; if it has no newer one here, the others are told."""
    standing = peer.standing
    hub.lost_devices.append((standing.device_pk, peer.sid))
    hub.bell.set()
    if hub.devices.get(standing.device_pk) is peer:
        del hub.devices[standing.device_pk]
        hub.emit(devices_room(standing.user_id), translation.gone(standing.device_id))
