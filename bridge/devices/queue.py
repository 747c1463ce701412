"""The queue of commands for devices: rows that are delivered until the device acknowledges them,
and applied by it once, by their id (D1, docs/decisions/0028).

Of one task the next command goes out when the one before has ended; between tasks the higher
priority goes first, then the older one. All functions that a socket's process calls take many at
once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from accounts.actors import Actor
from audit import actions as audit
from bridge import packets
from bridge.devices.models import Device, QueuedCommand
from roocloud.lib.bulk import update_rows
from roocloud.lib.refusals import Conflict, NotFound

#: Commands that are on their way to one device at once.
WINDOW = 32
#: How long a device has to acknowledge, and how often it is asked again while it is connected.
ACKNOWLEDGED_WITHIN = timedelta(seconds=10)
MAX_RETRIES = 3
_MOST_BACKOFF_S = 30
_AT_ONCE = 1000

State = QueuedCommand.State


# --- Delivering -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reach:
    """A device whose socket is in this process. free: how many commands it takes now."""

    pk: str
    sid: str
    free: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A command on its way to the socket ``sid``. frame: what goes over it. target_id: the device's
    own id. sender: (owner id, device id) of whoever gave it."""

    pk: int
    key: str
    target_pk: str
    target_id: str
    sid: str
    sender: tuple[str, str]
    expires_at: datetime
    frame: str


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a command, for the device that gave it. target_id: the device's own id."""

    sender: tuple[str, str]
    target_pk: str
    target_id: str
    key: str
    state: str
    reason: str


def claim(reaches: Sequence[Reach], *, at: datetime) -> tuple[list[Outgoing], list[Ended]]:
    """What is to go out to each device now, marked as sent; and what it was sent too often. A
    device that was removed, or that has a newer socket, gets nothing."""
    free = {reach.pk: reach.free for reach in reaches}
    sids = {reach.pk: reach.sid for reach in reaches}
    with transaction.atomic():
        # What is sent to a silent device again takes no more of its room than before.
        picked = [
            pk
            for pk, target, sid in _due(sids, at=at)
            if sid == sids[target] or _takes(free, target)
        ]
        # Locked, so that nobody takes back, ends or claims them meanwhile.
        rows = QueuedCommand.unscoped.open().filter(pk__in=picked).order_by("pk")
        locked = list(_with_names(rows.select_for_update(of=("self",))))
        silent = [
            row
            for row in locked
            if row.sid == sids[row.target_id] and row.retry_count >= MAX_RETRIES
        ]
        ended = _settle_rows(silent, State.FAILED, "not_acknowledged", at=at)
        going = [row for row in locked if row.settled_at is None]
        for row in going:
            row.retry_count += row.sid == sids[row.target_id]
            row.sid = sids[row.target_id]
        update_rows(QueuedCommand, [_sent(row, at=at) for row in going])
    going.sort(key=lambda row: (-row.priority, row.pk))
    return [_outgoing(row) for row in going], ended


def _with_names(rows: QuerySet[QueuedCommand]) -> QuerySet[QueuedCommand]:
    """With what their devices call themselves, and nothing else of these."""
    fields = [field.name for field in QueuedCommand._meta.concrete_fields]
    names = ("source__device_id", "target__device_id")
    return rows.select_related("source", "target").only(*fields, *names)


def _takes(free: dict[str, int], target_pk: str) -> bool:
    free[target_pk] -= 1
    return free[target_pk] >= 0


def _due(sids: dict[str, str], *, at: datetime) -> list[tuple[int, str, str]]:
    """(key of the row, its device, the socket it last went out by) of what each may be sent, in
    order."""
    open_ = QueuedCommand.unscoped.open().filter(expires_at__gt=at)
    earlier = open_.filter(
        target=OuterRef("target"), task_id=OuterRef("task_id"), pk__lt=OuterRef("pk")
    )
    due = (
        open_.filter(
            Q(due_at__lte=at) | ~Q(sid=F("target__sid")),  # never sent, or by another socket
            Q(task_id="") | ~Exists(earlier),
            target__in=sids.keys(),
            target__sid__in=sids.values(),
            target__revoked_at=None,
            target__owner__is_active=True,
            source__revoked_at=None,  # also of what no device gave
        )
        .annotate(
            place=Window(
                RowNumber(), partition_by="target", order_by=[F("priority").desc(), F("pk").asc()]
            )
        )
        .filter(place__lte=WINDOW)
        .order_by("place", "pk")
    )
    return list(due.values_list("pk", "target", "sid"))


def _sent(row: QueuedCommand, *, at: datetime) -> dict[str, Any]:
    backoff_s = min(2**row.retry_count // 2, _MOST_BACKOFF_S)
    return {
        "pk": row.pk,
        "state": State.SENT.value,
        "sid": row.sid,
        "sent_at": row.sent_at or at,
        "due_at": at + ACKNOWLEDGED_WITHIN + timedelta(seconds=backoff_s),
        "retry_count": row.retry_count,
    }


def _outgoing(row: QueuedCommand) -> Outgoing:
    envelope = {
        "id": row.key,
        "type": row.kind,
        "timestamp": int(row.given_at.timestamp() * 1000),
        "expiresAt": int(row.expires_at.timestamp() * 1000),
        "sourceDeviceId": row.source.device_id if row.source else "",
        "targetDeviceId": row.target.device_id,
        "payload": msgspec.Raw(row.payload.encode()),
    }
    frame = packets.question(row.kind, msgspec.json.encode(envelope).decode())
    return Outgoing(
        row.pk,
        row.key,
        row.target_id,
        row.target.device_id,
        row.sid,
        _sender(row),
        row.expires_at,
        frame,
    )


def _sender(row: QueuedCommand) -> tuple[str, str]:
    return row.owner_id, row.source.device_id if row.source else ""


# --- Ending -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a device said of a command. fault: why it will not carry it out; empty: it did."""

    command: Outgoing
    fault: str
    at: datetime

    @property
    def ended(self) -> Ended:
        state = State.FAILED if self.fault else State.ACKNOWLEDGED
        command = self.command
        return Ended(
            command.sender,
            command.target_pk,
            command.target_id,
            command.key,
            state.value,
            self.fault,
        )


def acknowledge(acknowledgements: Sequence[Acknowledgement]) -> list[Ended]:
    """Write them down; those that this call decided."""
    by_pk = {one.command.pk: one for one in acknowledgements}
    rows = [
        {
            "pk": pk,
            "state": one.ended.state,
            "reason": one.fault,
            "settled_at": one.at,
            "payload": "",
        }
        for pk, one in by_pk.items()
    ]
    settled = update_rows(QueuedCommand, rows, where_null="settled_at")
    return [by_pk[pk].ended for pk in settled]


def expire(*, at: datetime) -> list[Ended]:
    """End what waited for too long. Those of this call."""
    with transaction.atomic():
        due = QueuedCommand.unscoped.open().filter(expires_at__lte=at).order_by("pk")
        rows = list(_with_names(due.select_for_update(of=("self",)))[:_AT_ONCE])
        return _settle_rows(rows, State.EXPIRED, "not_delivered_in_time", at=at)


def _settle_rows(
    rows: Sequence[QueuedCommand], state: State, reason: str, *, at: datetime
) -> list[Ended]:
    """End rows that the caller's transaction has locked."""
    for row in rows:
        row.state, row.reason, row.settled_at = state, reason, at
    pks = [row.pk for row in rows]
    if pks:
        ended = {"state": state, "reason": reason, "settled_at": at, "payload": ""}
        QueuedCommand.unscoped.filter(pk__in=pks).update(**ended)
    return [
        Ended(_sender(row), row.target_id, row.target.device_id, row.key, state.value, reason)
        for row in rows
    ]


def waiting(actor: Actor, device: Device) -> QuerySet[QueuedCommand]:
    """What waits for a device of the actor's, in the order of its delivery."""
    rows = QueuedCommand.objects.visible_to(actor).open().filter(target=device)
    return rows.select_related("source").defer("payload").order_by("-priority", "pk")


def find(*, device: Device, key: str, by: Actor) -> QueuedCommand:
    """A command for a device of the actor's, also one that ended. Raises NotFound."""
    rows = QueuedCommand.objects.visible_to(by).filter(target=device, key=key)
    row = rows.select_related("source").first()
    if row is None:
        raise NotFound("There is no such command")
    return row


def cancel(*, device: Device, key: str, by: Actor, at: datetime) -> None:
    """Take back a command that did not go out yet.

    Raises NotFound for what is not in the queue of that device of the actor's, and Conflict for
    what went out or ended before.
    """
    row = find(device=device, key=key, by=by)
    ended = {"state": State.CANCELLED, "settled_at": at, "payload": ""}
    with transaction.atomic():
        if not QueuedCommand.unscoped.filter(pk=row.pk, state=State.PENDING).update(**ended):
            raise Conflict("It does not wait any more")
        audit.record(
            action="device_command.cancelled",
            actor=by,
            organization_id="",
            target_kind="device",
            target_id=device.pk,
            after={"id": row.key},
            at=at,
        )


def forget(*, before: datetime) -> int:
    """Delete what ended before; how many there were."""
    deleted, _ = QueuedCommand.unscoped.filter(settled_at__lt=before).delete()
    return deleted
