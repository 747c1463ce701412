"""Commands of browsers to their person's editors, and what browsers hear of them; those that come
over HTTP too (bridge.rest)."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from accounts.actors import Actor, TokenKind
from bridge import commands, packets, waiting
from bridge.commands import Order, Outcome, Placed
from bridge.events import event
from bridge.hub import ClientKind, Delivery, Hub, Peer, relayed, user_room
from bridge.models import Command
from bridge.schemas import AnyCommand, CommandRef, ExtensionCommand, TaskCommand
from bridge.tokens import Standing
from roocloud.lib.batches import Batches
from roocloud.lib.refusals import Refusal
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)


async def _place(orders: Sequence[Order]) -> list[Placed]:
    return await run_db(commands.place, orders)


_orders: Batches[Order, Placed] = Batches(_place)
_COMMANDS = "an editor of the person's own; by a young sign-in, strong where a factor is enrolled"


@event("extension:command", ExtensionCommand, by=ClientKind.WEB, rule=_COMMANDS)
@event("task:command", TaskCommand, by=ClientKind.WEB, rule=_COMMANDS)
async def command(hub: Hub, peer: Peer, body: AnyCommand, payload: str) -> dict[str, Any]:
    return await give(hub, body, by=peer.standing, device=peer.device)


async def give(hub: Hub, body: AnyCommand, *, by: Standing, device: str) -> dict[str, Any]:
    """Once to one editor. The answer says whether it went out; ``command:updated`` says later what
    came of it. device: the User-Agent that it comes from."""
    if not by.may_command:
        return {"success": False, "error": "forbidden", "reason": by.why_not}
    order = Order(by, body, device, timezone.now())
    try:
        placed = await _orders.submit(order)
    except DatabaseError:
        logger.exception("A command was not written down, and not sent")
        return {"success": False, "error": "unavailable"}
    if not placed.sid:  # it failed, waits, or is the repetition of an earlier one
        return _answer(placed.command_id, placed.state, placed.reason)
    delivery = Delivery(
        placed.sid,
        placed.command_id,
        commands.kind_of(body),
        order.task_id,
        order.ask_ts,
        packets.event(_RELAYED[order.instance_id is None], commands.wire_form(order)),
    )
    result = await hub.deliver(placed.node, delivery)
    if result in ("sent", "unknown"):
        return _answer(placed.command_id, Command.State.SENT, "")
    hub.settle(Outcome(placed.command_id, Command.State.FAILED, result, timezone.now()))
    return _answer(placed.command_id, Command.State.FAILED, result)


_RELAYED = {True: "task:relayed_command", False: "extension:relayed_command"}


def _answer(command_id: str, state: str, reason: str) -> dict[str, Any]:
    if state == Command.State.FAILED:
        return {"success": False, "error": reason, "commandId": command_id}
    is_queued = state == Command.State.QUEUED
    return {
        "success": True, "delivered": not is_queued, "queued": is_queued, "commandId": command_id,
        "state": state,
    }  # fmt: skip


@event("command:cancel", CommandRef, by=ClientKind.WEB, rule="what the person gave and still waits")
async def cancel(hub: Hub, peer: Peer, ref: CommandRef, payload: str) -> dict[str, Any]:
    by = Actor(peer.standing.user_id, None, None, TokenKind.WEB)
    call = partial(waiting.cancel, command_id=ref.command_id, by=by, at=timezone.now())
    try:
        row = await run_db(call)
    except Refusal as refusal:
        return {"success": False, "error": refusal.code, "commandId": ref.command_id}
    hub.emit(user_room(by.user_id), receipt(row))
    return {"success": True, "commandId": row.pk, "state": row.state}


def receipt(row: Command) -> str:
    """What browsers hear of what became of a command."""
    return relayed("command:updated", outcome(row))


def outcome(row: Command) -> dict[str, Any]:
    """What became of a command."""
    return {
        "commandId": row.pk, "key": row.key, "type": row.kind, "instanceId": row.instance_id,
        "taskId": row.task_id, "askTs": row.ask_ts, "state": row.state, "reason": row.reason,
    }  # fmt: skip
