"""Starts of tasks that wait for an editor (D1): a queue of rows, each bound to the person, host and
folder that it was given for, because an editor's instance id changes when it restarts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.db import transaction
from django.db.models import Count, F, QuerySet, Value
from django.db.models import Window as Over
from django.db.models.functions import Concat, RowNumber

from accounts.actors import Actor
from audit import actions as audit
from bridge.models import Command
from roocloud.lib.refusals import Conflict, NotFound

#: Starts of one person that may wait at once, for whichever editors. Each may carry images.
MOST_WAITING = 50
#: Why a start was refused that would have been one more.
TOO_MANY = "too_many_waiting"


def refuse_surplus(rows: Sequence[Command]) -> None:
    """Of the rows that are about to be written, fail those that may not wait because enough of
    their sender wait already. What other processes write at this moment is not counted."""
    queued = [row for row in rows if row.state == Command.State.QUEUED]
    if not queued:
        return
    of_senders = Command.unscoped.queued().filter(sender_id__in={row.sender_id for row in queued})
    counts = of_senders.order_by().values_list("sender_id").annotate(Count("pk"))
    waiting = Counter(dict(counts))
    for row in queued:
        waiting[row.sender_id] += 1
        if waiting[row.sender_id] > MOST_WAITING:
            row.state, row.reason, row.settled_at = Command.State.FAILED, TOO_MANY, row.given_at
            row.payload, row.expires_at = "", None


@dataclass(frozen=True, slots=True)
class Window:
    """An editor that is there and works on nothing. sid: of its socket."""

    sid: str
    owner_id: str
    instance_id: str
    host: str
    workspace_path: str

    @property
    def place(self) -> tuple[str, str, str]:
        return self.owner_id, self.host, self.workspace_path


def claim(windows: Sequence[Window], *, at: datetime) -> list[tuple[Window, Command, str]]:
    """The oldest start that waits for each window, now sent to it and to no other, with its JSON as
    the editor reads it. Each window gets one: a second start would take the place of the first."""
    with transaction.atomic():
        # The rows are locked, so that no other process sends, cancels or ends them meanwhile.
        rows = Command.unscoped.queued().filter(pk__in=_oldest(windows, at=at).values("pk"))
        waiting = {
            (row.sender_id, row.host, row.workspace_path): row
            for row in rows.select_for_update().order_by("pk")
        }
        free = {window.place: window for window in windows}  # of two alike, either will do
        claimed = [(window, waiting[place]) for place, window in free.items() if place in waiting]
        frames = [(window, row, _frame(window, row, at)) for window, row in claimed]
        for window, row in claimed:
            row.state, row.sent_at, row.payload = Command.State.SENT, at, ""
            row.instance_id = window.instance_id
        Command.unscoped.bulk_update(
            [row for _, row in claimed], ["state", "sent_at", "payload", "instance_id"]
        )
    return frames


def _oldest(windows: Sequence[Window], *, at: datetime) -> QuerySet[Command]:
    """The oldest start for each of the windows' places: what waits for another place is neither
    locked nor read, however much it is."""
    line = Value("\n")
    return (
        Command.unscoped.queued()
        .alias(place=Concat("sender_id", line, "host", line, "workspace_path"))
        .filter(
            sender_id__in={window.owner_id for window in windows},
            place__in={"\n".join(window.place) for window in windows},
            expires_at__gt=at,
        )
        .alias(
            turn=Over(
                RowNumber(),
                partition_by=["sender_id", "host", "workspace_path"],
                order_by=[F("given_at").asc(), F("pk").asc()],
            )
        )
        .filter(turn=1)
    )


def _frame(window: Window, row: Command, at: datetime) -> str:
    document = {
        "type": row.kind,
        "instanceId": window.instance_id,
        "payload": msgspec.Raw(row.payload.encode()),
        "timestamp": int(at.timestamp() * 1000),
    }
    return msgspec.json.encode(document).decode()


def cancel(*, command_id: str, by: Actor, at: datetime) -> Command:
    """Take back a start that waits.

    Raises NotFound for what is not the actor's, and Conflict for what went out or ended before.
    """
    row = Command.objects.visible_to(by).filter(pk=command_id).first()
    if row is None:
        raise NotFound("Not found")
    ended = {"state": Command.State.CANCELLED, "settled_at": at, "payload": ""}
    if not Command.unscoped.queued().filter(pk=row.pk).update(**ended):
        raise Conflict("It does not wait any more")
    audit.record(
        action="command.cancelled", actor=by, target_kind="command", target_id=row.pk, at=at
    )
    row.refresh_from_db()
    return row


def cancel_given(*, by_person: str, by_device: str | None = None, reason: str, at: datetime) -> int:
    """Take back all starts that wait of a person, or of one device of theirs; how many."""
    given = Command.unscoped.queued().filter(sender_id=by_person)
    if by_device is not None:
        given = given.filter(source_id=by_device)
    ended = {"state": Command.State.CANCELLED, "reason": reason, "settled_at": at, "payload": ""}
    with transaction.atomic():
        # In the order in which others lock them.
        pks = list(given.select_for_update().order_by("pk").values_list("pk", flat=True))
        return Command.unscoped.queued().filter(pk__in=pks).update(**ended)


def expire(*, at: datetime) -> list[Command]:
    """End what waited for too long. Those of this call."""
    with transaction.atomic():
        due = Command.unscoped.queued().filter(expires_at__lte=at)
        rows = list(due.select_for_update().order_by("pk")[:1000])
        for row in rows:
            row.state, row.reason = Command.State.EXPIRED, "editor_did_not_come"
            row.settled_at, row.payload = at, ""
        Command.unscoped.bulk_update(rows, ["state", "reason", "settled_at", "payload"])
    return rows
