"""Commands from the web to editors: written down before they go out, settled by what is seen after.

A command goes to exactly one socket, once. Whatever breaks on the way, it is never sent again: it
ends confirmed, unconfirmed, or as not sent, and the sender decides (D2).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction

from accounts.actors import Actor
from audit import actions as audit
from bridge import waiting
from bridge.models import INSTANCE_LIFETIME, Command, Device, Instance, Publication
from bridge.schemas import AnyCommand
from bridge.tokens import Standing
from roocloud.lib.bulk import update_rows
from roocloud.lib.ids import new_id
from roocloud.lib.text import clean_label

#: How long an editor is given to show that it carried a command out. Its sender knows two seconds
#: later at most.
CONFIRMED_WITHIN = timedelta(seconds=12)
#: Why a command was not sent whose id is that of another one.
KEY_REUSED = "key_reused"
#: How long the start of a task waits for its editor.
WAITS_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Order:
    """A command as somebody gave it. device: the User-Agent that it came from."""

    by: Standing
    command: AnyCommand
    device: str
    at: datetime

    @property
    def task_id(self) -> str:
        command = self.command
        if hasattr(command, "task_id"):
            return str(command.task_id)
        return str(getattr(command.payload, "task_id", ""))

    @property
    def instance_id(self) -> str | None:
        """None for a command to whichever instance publishes the task."""
        return getattr(self.command, "instance_id", None)

    @property
    def ask_ts(self) -> int | None:
        ask_ts = getattr(self.command, "ask_ts", None)
        return None if ask_ts is None else int(ask_ts)

    @property
    def fingerprint(self) -> str:
        """Of what is asked for; when it was is left out, as who repeats it may say now."""
        command = self.command
        may_wait = getattr(command, "may_wait", False)
        facts = (kind_of(command), self.instance_id, self.task_id, self.ask_ts, may_wait)
        asked = msgspec.json.encode((facts, command.payload))
        return hashlib.sha256(asked).hexdigest()


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that is written down. node, sid: the socket that it is to go to, empty where it is
    not to go out, because there is none or because it is a repetition of an earlier one."""

    command_id: str
    state: str
    reason: str = ""
    node: str = ""
    sid: str = ""


def place(orders: Sequence[Order]) -> list[Placed]:
    """Write each order down, with the socket that it is for, and the trace of it (R2). The same
    sender's same ``command_id`` is the same command: it is placed once (C6)."""
    targets = _targets(orders)
    with transaction.atomic():
        alive = _alive(orders)
        rows = [
            _row(order, target, is_removed=order.by.device_pk not in alive)
            for order, target in zip(orders, targets, strict=True)
        ]
        waiting.refuse_surplus(rows)
        Command.unscoped.bulk_create(rows, ignore_conflicts=True)
        known = _known(rows)
        new = [
            (order, row)
            for order, row in zip(orders, rows, strict=True)
            if known[row.sender_id, row.key].pk == row.pk
        ]
        audit.record_all([_trace(order, row) for order, row in new])
    placed = []
    for row, target in zip(rows, targets, strict=True):
        stored = known[row.sender_id, row.key]
        if not _is_same(stored, row):
            placed.append(Placed(stored.pk, Command.State.FAILED, KEY_REUSED))
            continue
        goes_out = stored.pk == row.pk and row.state == Command.State.SENT
        node, sid = (target.node, target.sid) if goes_out and target else ("", "")
        placed.append(Placed(stored.pk, stored.state, stored.reason, node, sid))
    return placed


def _is_same(stored: Command, row: Command) -> bool:
    """Whether what came under an id is what was given under it before."""
    if stored.fingerprint:
        return stored.fingerprint == row.fingerprint
    facts = ("kind", "task_id", "ask_ts", "text_hash")
    return all(getattr(stored, name) == getattr(row, name) for name in facts)


def _alive(orders: Sequence[Order]) -> set[str]:
    """The devices that gave them, without those that were removed; empty: none did. Locked, so that
    one that is being removed leaves nothing behind."""
    given = {order.by.device_pk for order in orders if order.by.device_pk}
    if not given:
        return {""}
    rows = Device.unscoped.alive().filter(pk__in=given)
    locked = rows.order_by("pk").select_for_update(of=("self",))
    return {"", *locked.values_list("pk", flat=True)}


def _row(order: Order, target: Instance | None, *, is_removed: bool) -> Command:
    command, command_id, at = order.command, new_id("cmd"), order.at
    row = Command(
        id=command_id,
        sender_id=order.by.user_id,
        key=command.command_id or command_id,
        instance_id=order.instance_id or "",
        kind=kind_of(command),
        task_id=order.task_id,
        ask_ts=order.ask_ts,
        text_hash=_text_hash(command.payload),
        fingerprint=order.fingerprint,
        source_id=order.by.device_pk or None,
        device=clean_label(order.device, 200),
        given_at=at,
    )
    if target is None or is_removed:
        reason = "device_removed" if is_removed else _absence(order)
        row.state, row.reason, row.settled_at = Command.State.FAILED, reason, at
        return row
    row.instance_id, row.organization_id = target.instance_id, target.organization_id
    if _is_there(target, at=at):
        row.state, row.sent_at = Command.State.SENT, at
    elif getattr(command, "may_wait", False):
        row.state, row.expires_at = Command.State.QUEUED, at + WAITS_FOR
        row.host, row.workspace_path = target.host, target.workspace_path
        row.payload = msgspec.json.encode(command.payload).decode()
    else:
        row.state, row.reason, row.settled_at = Command.State.FAILED, "instance_offline", at
    return row


def _is_there(target: Instance, *, at: datetime) -> bool:
    is_live = target.ended_at is None and target.last_seen_at > at - INSTANCE_LIFETIME
    return is_live and bool(target.sid)


def kind_of(command: AnyCommand) -> str:
    """``start_task`` …"""
    return str(type(command).__struct_config__.tag)


def _text_hash(payload: Any) -> str:
    text = getattr(payload, "text", None)
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _absence(order: Order) -> str:
    return "task_not_found" if order.instance_id is None else "instance_offline"


def _known(rows: Sequence[Command]) -> Mapping[tuple[str, str], Command]:
    found = Command.unscoped.filter(
        sender_id__in={row.sender_id for row in rows}, key__in={row.key for row in rows}
    )
    return {(row.sender_id, row.key): row for row in found}


def _targets(orders: Sequence[Order]) -> list[Instance | None]:
    """The instance that each is for, of the sender's own (R1). Two queries."""
    at = max(order.at for order in orders)
    mine = Instance.unscoped.filter(owner_id__in={order.by.user_id for order in orders})
    connected = mine.live(at).exclude(sid="")
    named = {order.instance_id for order in orders if order.instance_id is not None}
    tasks = {order.task_id for order in orders if order.instance_id is None}
    found: dict[tuple[str, str | None, str], Instance] = {}
    if named:
        for row in mine.filter(instance_id__in=named):
            found[row.owner_id, row.instance_id, ""] = row
    if tasks:
        published = (
            Publication.unscoped.filter(task_id__in=tasks, instance__in=connected)
            .select_related("instance")
            .order_by("joined_at", "pk")  # the newest last: it takes the place of earlier ones
        )
        for publication in published:
            instance = publication.instance
            found[instance.owner_id, None, publication.task_id] = instance
    return [
        found.get((order.by.user_id, order.instance_id, "" if order.instance_id else order.task_id))
        for order in orders
    ]


_ACTIONS: dict[str, str] = {
    Command.State.SENT: "command.sent",
    Command.State.QUEUED: "command.queued",
}


def _trace(order: Order, row: Command) -> audit.Trace:
    facts = {"kind": row.kind, "instance": row.instance_id, "task": row.task_id, "state": row.state}
    facts |= {"textHash": row.text_hash, "device": row.device}
    if row.ask_ts is not None:
        facts["askTs"] = str(row.ask_ts)
    actor = Actor(row.sender_id, row.organization_id or None, None, order.by.kind)
    return audit.Trace(
        action=_ACTIONS.get(row.state, "command.refused"),
        actor=actor,
        target_kind="instance",
        target_id=row.instance_id or row.task_id or "-",
        at=order.at,
        after={name: value for name, value in facts.items() if value},
    )


def wire_form(order: Order) -> str:
    """The JSON of the command as the editor reads it: nothing but what its schema names."""
    command = order.command
    document: dict[str, Any] = {"type": kind_of(command)}
    if order.instance_id is not None:
        document["instanceId"] = order.instance_id
    else:
        document["taskId"] = order.task_id
    document["payload"] = command.payload
    document["timestamp"] = int(command.timestamp or order.at.timestamp() * 1000)
    return msgspec.json.encode(document).decode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command that was sent."""

    command_id: str
    state: str
    reason: str
    at: datetime


def settle(outcomes: Sequence[Outcome]) -> list[Command]:
    """Write down what became of each; those whose fate this call decided."""
    rows = [
        {"pk": one.command_id, "state": one.state, "reason": one.reason, "settled_at": one.at}
        for one in outcomes
    ]
    settled = update_rows(Command, rows, where_null="settled_at")
    return list(Command.unscoped.filter(pk__in=settled))


def expire(*, at: datetime) -> list[Command]:
    """What went out too long ago for an effect to come is unconfirmed. Those of this call."""
    due = Command.unscoped.open().filter(sent_at__lte=at - CONFIRMED_WITHIN)
    ids = list(due.order_by("sent_at", "pk").values_list("pk", flat=True)[:1000])
    state, reason = Command.State.UNCONFIRMED, "no_effect_seen"
    return settle([Outcome(pk, state, reason, at) for pk in ids]) if ids else []


def forget_settled(*, before: datetime) -> int:
    """Delete what came to an end before; how many there were."""
    deleted, _ = Command.unscoped.filter(settled_at__lt=before).delete()
    return deleted
