"""Commands for devices as they are given: read, judged, and put in the queue once (C6)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q

from accounts.actors import Actor
from audit import actions as audit
from bridge.devices.models import Device, QueuedCommand
from bridge.devices.schemas import Envelope, MessageId, Peek
from bridge.schemas import Reader
from bridge.tokens import Standing
from roocloud.lib.bulk import insert_rows
from roocloud.lib.refusals import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Refusal,
    TooLarge,
    Unauthenticated,
)

#: Types that are queued; all others are told to whoever is there.
COMMANDS = frozenset({"new_task", "user_message", "abort_task", "pause_task"})
WAITS_FOR, WAITS_FOR_AT_MOST = timedelta(days=1), timedelta(days=7)


class QueueFull(Conflict):
    code = "queue_full"


class KeyReused(Refusal):
    status, code = 422, "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Order:
    """A command as a device gave it. payload: JSON. text: what it says, where that can be read."""

    by: Standing
    key: str
    kind: str
    target_device_id: str
    payload: str
    task_id: str
    text: str
    priority: int
    expires_at: datetime
    at: datetime

    @property
    def fingerprint(self) -> str:
        """Of what is asked for; its end is left out, as it may be given from now on."""
        parts = (self.kind, self.target_device_id, self.task_id, str(self.priority), self.payload)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that is in the queue. is_new: False for the repetition of an earlier one. node: of
    the process that holds the device's socket; empty where it is not connected."""

    key: str
    is_new: bool
    state: str
    target_pk: str
    node: str


_envelopes, _peeks = Reader(Envelope), Reader(Peek)


def read_order(
    body: bytes, *, key: str | None, by: Standing, target_device_id: str, at: datetime
) -> Order:
    """The order in the body of a request. key: its Idempotency-Key, which is the command's id.

    Raises InvalidInput, TooLarge, Forbidden.
    """
    try:
        envelope: Envelope = _envelopes.read(body.decode())
    except UnicodeDecodeError:
        raise InvalidInput("The body is not UTF-8") from None
    if key is not None:
        try:
            envelope.id = msgspec.convert(key, MessageId)
        except msgspec.ValidationError:
            words = "must be 8 to 128 letters, digits, dots, colons, hyphens or underscores"
            raise InvalidInput(words, field="Idempotency-Key") from None
    envelope.target_device_id = target_device_id
    return order_of(envelope, kind=envelope.type or "", by=by, at=at)


def order_of(envelope: Envelope, *, kind: str, by: Standing, at: datetime) -> Order:
    """Raises InvalidInput and TooLarge, which name the field, and Forbidden (R2)."""
    if kind not in COMMANDS:
        raise InvalidInput(f"must be one of {', '.join(sorted(COMMANDS))}", field="type")
    if envelope.id is None:
        raise InvalidInput("is missing", field="id")
    if not by.may_command:
        raise Forbidden(by.why_not)
    payload = payload_of(envelope)
    try:
        peek: Peek = _peeks.read(payload)
    except InvalidInput as fault:
        raise InvalidInput(fault.message, field=f"payload.{fault.field}") from None
    return Order(
        by=by,
        key=envelope.id,
        kind=kind,
        target_device_id=envelope.target_device_id or "",
        payload=payload,
        task_id=envelope.task_id or peek.task_id or "",
        text=peek.text or "",
        priority=envelope.priority,
        expires_at=_expiry(envelope.expires_at, at=at),
        at=at,
    )


def payload_of(envelope: Envelope) -> str:
    """The JSON of a message's payload. Raises InvalidInput and TooLarge."""
    payload = bytes(envelope.payload)
    if not payload.startswith(b"{"):
        raise InvalidInput("must be an object", field="payload")
    most = settings.ROOCLOUD_DEVICE_PAYLOAD_LIMIT
    if len(payload) > most:
        raise TooLarge(f"must be at most {most} bytes", field="payload")
    return payload.decode()


def _expiry(expires_ms: float | None, *, at: datetime) -> datetime:
    if expires_ms is None:
        return at + WAITS_FOR
    latest = at + WAITS_FOR_AT_MOST
    if not at.timestamp() * 1000 < expires_ms <= latest.timestamp() * 1000:
        raise InvalidInput(
            f"must be within {WAITS_FOR_AT_MOST.days} days from now", field="expiresAt"
        )
    return datetime.fromtimestamp(expires_ms / 1000, UTC)


def place(orders: Sequence[Order]) -> list[Placed | Exception]:
    """Put each in its device's queue, with a trace of it (R2). The same id of the same person is
    the same command, and is placed once (C6).

    A result may be Unauthenticated for a sender that was removed meanwhile, NotFound for what is no
    device of the sender's, QueueFull or KeyReused.
    """
    with transaction.atomic():
        # Locked, so that a device's rows are committed in the order of their keys, its queue grows
        # no longer than it may, and none is added for or by one that is being removed.
        locked = _locked(orders)
        targets = {(row.owner_id, row.device_id): row for row in locked}
        alive = {row.pk for row in locked}
        known = _known(orders)
        free = _free(targets.values())
        wanted: dict[tuple[str, str], tuple[Order, Device]] = {}
        for order in orders:
            target = targets.get((order.by.user_id, order.target_device_id))
            name = (order.by.user_id, order.key)
            if target is None or name in known or name in wanted or not free[target.pk]:
                continue
            if order.by.device_pk not in alive:
                continue
            free[target.pk] -= 1
            wanted[name] = order, target
        rows = [_row(order, target) for order, target in wanted.values()]
        added = insert_rows(QueuedCommand, rows, unique=("owner", "key"))
        if wanted:
            known = _known(orders)
        audit.record_all(
            _trace(order, target)
            for name, (order, target) in wanted.items()
            if known[name].pk in added
        )
    placed: list[Placed | Exception] = []
    for order in orders:
        if order.by.device_pk not in alive:
            placed.append(Unauthenticated("This device was removed"))
            continue
        target = targets.get((order.by.user_id, order.target_device_id))
        row = known.get((order.by.user_id, order.key))
        is_new = row is not None and row.pk in added
        if row is not None:
            added.discard(row.pk)  # of two alike in one batch, the first is the new one
        placed.append(_result(order, target, row, is_new=is_new))
    return placed


def place_one(order: Order) -> Placed:
    """The same for a single one; what comes of it is raised."""
    [result] = place([order])
    if isinstance(result, Exception):
        raise result
    return result


def _result(
    order: Order, target: Device | None, row: QueuedCommand | None, *, is_new: bool
) -> Placed | Exception:
    if row is not None and row.fingerprint != order.fingerprint:
        return KeyReused("This id is that of another command", field="id")
    if target is None:
        return NotFound("There is no such device", field="targetDeviceId")
    if row is None:
        most = settings.ROOCLOUD_DEVICE_QUEUE
        return QueueFull(f"{most} commands wait for it already", field="targetDeviceId")
    node = target.node if target.is_connected(order.at) else ""
    return Placed(row.key, is_new, row.state, target.pk, node)


def _locked(orders: Sequence[Order]) -> list[Device]:
    """The devices that they are for and by, as far as they are alive."""
    targets = Q(
        owner_id__in={order.by.user_id for order in orders},
        device_id__in={order.target_device_id for order in orders},
    )
    sources = Q(pk__in={order.by.device_pk for order in orders})
    rows = Device.unscoped.alive().filter(targets | sources)
    return list(rows.order_by("pk").select_for_update(of=("self",)))


def _known(orders: Sequence[Order]) -> dict[tuple[str, str], QueuedCommand]:
    rows = QueuedCommand.unscoped.filter(
        owner_id__in={order.by.user_id for order in orders},
        key__in={order.key for order in orders},
    )
    return {
        (row.owner_id, row.key): row for row in rows.only("owner", "key", "fingerprint", "state")
    }


def _free(targets: Iterable[Device]) -> dict[str, int]:
    """How many commands each queue takes yet."""
    pks = [target.pk for target in targets]
    open_ = QueuedCommand.unscoped.open().filter(target__in=pks).values("target")
    lengths = dict(open_.annotate(length=Count("pk")).values_list("target", "length"))
    return {pk: max(settings.ROOCLOUD_DEVICE_QUEUE - lengths.get(pk, 0), 0) for pk in pks}


def _row(order: Order, target: Device) -> dict[str, Any]:
    return {
        "owner": order.by.user_id,
        "key": order.key,
        "fingerprint": order.fingerprint,
        "target": target.pk,
        "source": order.by.device_pk,
        "kind": order.kind,
        "task_id": order.task_id,
        "payload": order.payload,
        "priority": order.priority,
        "given_at": order.at,
        "expires_at": order.expires_at,
        "state": QueuedCommand.State.PENDING.value,
        "reason": "",
        "sid": "",
        "retry_count": 0,
    }


def _trace(order: Order, target: Device) -> audit.Trace:
    text = order.text or order.payload
    return audit.Trace(
        action="device_command.queued",
        actor=Actor(order.by.user_id, None, None, order.by.kind),
        organization_id="",
        target_kind="device",
        target_id=target.pk,
        at=order.at,
        after={
            "id": order.key,
            "kind": order.kind,
            "task": order.task_id,
            "source": order.by.device_id,
            "textHash": hashlib.sha256(text.encode()).hexdigest(),
        },
    )
