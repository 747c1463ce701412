"""Every event that a client may send: its shape, who may send it, by which rule, and what it does.

An event without a shape and a rule cannot be declared (A2), and each is judged again when it comes
(R1): what a socket may do is what its person may do now, not the rooms that it once entered.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from msgspec import Raw

from bridge import effects, news, packets, presence, watching
from bridge.commands import Outcome
from bridge.devices import translation
from bridge.effects import Awaited, Question
from bridge.hub import ClientKind, Delivery, Hub, Peer, devices_room, relayed, task_room, user_room
from bridge.models import Command, Instance
from bridge.presence import Sighting
from bridge.schemas import (
    ExtensionEvent,
    ExtensionInstance,
    Reader,
    TaskEvent,
    TaskRef,
)
from bridge.waiting import Window
from roocloud.lib.batches import Batches
from roocloud.lib.text import storable
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)

Handler = Callable[[Hub, Peer, Any, str], Awaitable[dict[str, Any] | None]]

#: Tasks that one socket may publish or follow at once.
MOST_TASKS = 200
#: Milliseconds for which an editor's word that a question is pending is taken (D3).
_PENDING_MS = 60_000


@dataclass(frozen=True, slots=True)
class Event:
    """rule: who may send it about what, in words; ``handle`` keeps to it."""

    name: str
    by: ClientKind
    rule: str
    reader: Reader
    handle: Handler

    def refusal(self, issue: dict[str, str]) -> dict[str, Any]:
        """What one that does not fit its shape is answered with."""
        fault = "invalid_command" if self.name.endswith(":command") else "invalid_event"
        answer = {"success": False, "error": fault, "issues": [issue]}
        return answer | ({"status": "rejected"} if self.by is ClientKind.DEVICE else {})


EVENTS: dict[tuple[ClientKind, str], Event] = {}


def event(name: str, shape: Any, *, by: ClientKind, rule: str) -> Callable[[Handler], Handler]:
    """Declares the handler of an event. It is given the hub, the socket, the event's first
    argument, read and as JSON text, and returns what to acknowledge it with."""

    def declare(handle: Handler) -> Handler:
        EVENTS[by, name] = Event(name, by, rule, Reader(shape), handle)
        return handle

    return declare


def find(by: ClientKind, name: str) -> Event | None:
    return EVENTS.get((by, name))


# --- Editors ----------------------------------------------------------------------------------

_OWN = "the token's own person, whatever the payload says"


async def _put(sightings: Sequence[Sighting]) -> list[str]:
    return await run_db(presence.put, sightings)


async def _publish(joins: Sequence[tuple[str, str]]) -> list[None]:
    await run_db(presence.publish, joins, at=timezone.now())
    return [None] * len(joins)


_puts: Batches[Sighting, str] = Batches(_put)
_joins: Batches[tuple[str, str], None] = Batches(_publish)


@event("extension:register", ExtensionInstance, by=ClientKind.EXTENSION, rule=_OWN)
async def register(hub: Hub, peer: Peer, instance: ExtensionInstance, payload: str) -> None:
    """Comes twice after each reconnection (trap 36)."""
    is_known = peer.instance is not None and peer.instance.instance_id == instance.instance_id
    _hear(hub, peer, instance)
    if not is_known:
        peer.pk = await _puts.submit(sighting(hub, peer, instance))
        peer.is_changed = False
    now_ms = _now_ms()
    told = {"instanceId": instance.instance_id, "timestamp": now_ms}
    peer.send(relayed("extension:connected", told))
    _tell(hub, peer, ExtensionEvent("instance_registered", instance, now_ms))


@event("extension:heartbeat", ExtensionInstance, by=ClientKind.EXTENSION, rule=_OWN)
async def heartbeat(hub: Hub, peer: Peer, instance: ExtensionInstance, payload: str) -> None:
    if not peer.pk:
        await register(hub, peer, instance, payload)
        return
    _hear(hub, peer, instance)
    _tell(hub, peer, ExtensionEvent("heartbeat_updated", instance, _now_ms()))


@event("extension:event", ExtensionEvent, by=ClientKind.EXTENSION, rule=_OWN)
async def extension_event(hub: Hub, peer: Peer, event_: ExtensionEvent, payload: str) -> None:
    event_.type = _SPELLINGS.get(event_.type, event_.type)
    if not peer.pk:
        await register(hub, peer, event_.instance, payload)
    for command_id, awaited in list(peer.awaited.items()):
        if effects.confirmed_by_event(awaited, event_):
            _confirm(hub, peer, command_id)
    _hear(hub, peer, event_.instance)
    _tell(hub, peer, event_)


@event("extension:unregister", ExtensionInstance, by=ClientKind.EXTENSION, rule=_OWN)
async def unregister(hub: Hub, peer: Peer, instance: ExtensionInstance, payload: str) -> None:
    is_over = await run_db(presence.end, peer.pk, peer.sid, at=timezone.now())
    if is_over:
        _tell(hub, peer, ExtensionEvent("instance_unregistered", instance, _now_ms()))
    peer.pk, peer.instance = "", None


@event("task:join", TaskRef, by=ClientKind.EXTENSION, rule=f"{_OWN}; ids are scoped to the owner")
async def publish_task(hub: Hub, peer: Peer, task: TaskRef, payload: str) -> dict[str, Any]:
    """Before the task's first event and message, so any id will do (protocol/bridge.md §4.1).
    Without a positive answer the editor publishes nothing."""
    task_id = task.task_id
    if not peer.pk:
        return {"success": False, "error": "not_registered"}
    if task_id not in peer.tasks:
        if len(peer.tasks) >= MOST_TASKS:
            return {"success": False, "error": "too_many_tasks"}
        try:
            await _joins.submit((peer.pk, task_id))
        except DatabaseError:
            logger.exception("A task was not joined")
            return {"success": False, "error": "unavailable"}
        peer.tasks[task_id] = task_room(peer.standing.user_id, task_id)
    return _joined(task_id)


@event("task:leave", TaskRef, by=ClientKind.EXTENSION, rule=_OWN)
async def withdraw_task(hub: Hub, peer: Peer, task: TaskRef, payload: str) -> dict[str, Any]:
    if peer.tasks.pop(task.task_id, None) is not None:
        peer.questions.pop(task.task_id, None)
        await run_db(presence.withdraw, peer.pk, task.task_id)
    return _joined(task.task_id)


@event("task:event", TaskEvent, by=ClientKind.EXTENSION, rule="of a task that this socket joined")
async def task_event(hub: Hub, peer: Peer, event_: TaskEvent, payload: str) -> None:
    """The hot path: what a task streams goes on as it came."""
    room = peer.tasks.get(event_.task_id)
    if room is None:
        return
    if peer.awaited:
        for command_id, awaited in list(peer.awaited.items()):
            if effects.confirmed_by_message(awaited, event_):
                _confirm(hub, peer, command_id)
    _note_question(peer, event_)
    hub.emit(room, packets.event("task:relayed_event", payload))
    if hub.is_heard(devices := devices_room(peer.standing.user_id)) and peer.instance:
        for frame in translation.told(event_, payload, source=peer.instance.instance_id):
            hub.emit(devices, frame)
    if peer.standing.is_watched:
        hub.show(watched_room(peer), packets.event("watch:task_event", payload))


def _note_question(peer: Peer, event_: TaskEvent) -> None:
    """What the task waits for, as far as its messages say."""
    question = peer.questions.get(event_.task_id)
    if (asked := effects.asked(event_)) is not None:
        if question is None or question.ts != asked:
            peer.questions[event_.task_id] = Question(asked, _now_ms())
    elif question is not None and effects.is_answered(question, event_):
        del peer.questions[event_.task_id]


def _joined(task_id: str) -> dict[str, Any]:
    stamp = timezone.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"success": True, "taskId": task_id, "timestamp": stamp}


def sighting(hub: Hub, peer: Peer, instance: ExtensionInstance) -> Sighting:
    standing = peer.standing
    return Sighting(
        standing.user_id, standing.organization_id, instance, hub.node, peer.sid, timezone.now()
    )


def _hear(hub: Hub, peer: Peer, instance: ExtensionInstance) -> None:
    """Take in what an instance says of itself. Its row follows within a second."""
    task_id, now_ms = instance.task.task_id, _now_ms()
    for command_id, awaited in list(peer.awaited.items()):
        if effects.confirmed_by_snapshot(awaited, instance):
            _confirm(hub, peer, command_id)
    question = peer.questions.get(task_id)
    if (asked := effects.question_of(instance)) is not None:
        if question is not None and question.ts == asked:
            question.heard_ms = now_ms
        elif task_id:
            peer.questions[task_id] = Question(asked, now_ms)
    elif question is not None and effects.is_withdrawn(question, instance, now_ms=now_ms):
        del peer.questions[task_id]
    if asked is not None and (question := peer.questions.get(task_id)) and not question.is_told:
        question.is_told = True
        if not question.is_answered and (told := news.of(peer.standing.user_id, instance)):
            hub.news.append(told)
    peer.instance, peer.is_changed = instance, True


def unregistered(row: Instance, *, at: datetime) -> str:
    """What browsers hear when an instance was silent for too long."""
    document = {"type": "instance_unregistered", "instance": Raw(row.snapshot.encode())}
    return relayed("extension:relayed_event", {**document, "timestamp": ms(at)})


def registered(snapshot: str, *, at: datetime) -> str:
    """What a browser hears of an instance that was there before it came. snapshot: JSON."""
    document = {"type": "instance_registered", "instance": Raw(snapshot.encode())}
    return relayed("extension:relayed_event", {**document, "timestamp": ms(at)})


def lost(instance_id: str) -> str:
    """What browsers hear of an instance whose socket is gone, and which may come back."""
    return relayed("instance:lost", {"instanceId": instance_id})


def ms(at: datetime) -> int:
    """As the wire tells the time."""
    return int(at.timestamp() * 1000)


_AT_REST = frozenset({"idle", "none"})


def window(peer: Peer) -> Window | None:
    """The editor behind a socket, if it works on nothing and was told nothing that it has yet to
    show: then the start of a task takes nothing's place."""
    instance = peer.instance
    if not peer.pk or instance is None or peer.awaited:
        return None
    if instance.task.task_id and instance.task.task_status not in _AT_REST:
        return None
    host = storable(instance.app_properties.hostname or "")
    path = storable(instance.workspace_path)
    return Window(peer.sid, peer.standing.user_id, instance.instance_id, host, path)


def _tell(hub: Hub, peer: Peer, event_: ExtensionEvent) -> None:
    """The browsers of the editor's owner and of those who watch it; and the devices, that it is
    there or goes."""
    hub.emit(user_room(peer.standing.user_id), relayed("extension:relayed_event", event_))
    if event_.type == "instance_registered":
        told = translation.editor_status(event_.instance)
        hub.emit(devices_room(peer.standing.user_id), told)
    elif event_.type == "instance_unregistered":
        gone = translation.gone(event_.instance.instance_id)
        hub.emit(devices_room(peer.standing.user_id), gone)
    if peer.standing.is_watched:
        hub.show(watched_room(peer), relayed("watch:extension_event", event_))


def watched_room(peer: Peer) -> str:
    """Of those who watch a registered editor."""
    instance_id = peer.instance.instance_id if peer.instance else ""
    return watching.room(peer.standing.organization_id or "", peer.standing.user_id, instance_id)


def _confirm(hub: Hub, peer: Peer, command_id: str) -> None:
    del peer.awaited[command_id]
    hub.settle(Outcome(command_id, Command.State.CONFIRMED, "", timezone.now()))


#: Seed 000 spells the types like this; editors never do (trap 40).
_SPELLINGS = {
    "task_created": "taskCreated", "task_started": "taskStarted",
    "task_completed": "taskCompleted", "task_aborted": "taskAborted",
    "task_focused": "taskFocused", "task_unfocused": "taskUnfocused",
    "task_active": "taskActive", "task_interactive": "taskInteractive",
    "task_resumable": "taskResumable", "task_idle": "taskIdle", "task_paused": "taskPaused",
    "task_unpaused": "taskUnpaused", "task_spawned": "taskSpawned",
    "task_delegated": "taskDelegated", "task_delegation_completed": "taskDelegationCompleted",
    "task_delegation_resumed": "taskDelegationResumed", "task_user_message": "taskUserMessage",
    "task_token_usage_updated": "taskTokenUsageUpdated", "mode_changed": "modeChanged",
    "provider_profile_changed": "providerProfileChanged",
}  # fmt: skip


# --- Browsers ---------------------------------------------------------------------------------


@event("task:join", TaskRef, by=ClientKind.WEB, rule="tasks that the person's own editors publish")
async def follow_task(hub: Hub, peer: Peer, task: TaskRef, payload: str) -> dict[str, Any]:
    room = task_room(peer.standing.user_id, task.task_id)
    if room not in peer.rooms:
        if len(peer.rooms) > MOST_TASKS:
            return {"success": False, "error": "too_many_tasks"}
        hub.enter(peer, room)
    return _joined(task.task_id)


@event("task:leave", TaskRef, by=ClientKind.WEB, rule="the socket's own")
async def unfollow_task(hub: Hub, peer: Peer, task: TaskRef, payload: str) -> dict[str, Any]:
    hub.leave(peer, task_room(peer.standing.user_id, task.task_id))
    return _joined(task.task_id)


def deliver(peer: Peer, delivery: Delivery) -> str:
    """Send a command to its editor, whose socket is here: ``sent``, or why it was not.

    An approval goes out only while the editor's last word is that exactly this question is pending,
    and once (D3). Nothing can come between that look and the writing: both are one step of the
    event loop.
    """
    if peer.kind is not ClientKind.EXTENSION or not peer.pk:
        return "instance_offline"
    if delivery.ask_ts is not None:
        question = peer.questions.get(delivery.task_id)
        if question is None or question.ts != delivery.ask_ts:
            return "too_late"
        if _now_ms() - question.heard_ms > _PENDING_MS:
            return "not_heard_of"
        if question.is_answered:
            return "already_answered"
        question.is_answered = True
    peer.awaited[delivery.command_id] = Awaited(
        delivery.kind, delivery.task_id, delivery.ask_ts, _now_ms()
    )
    peer.send(delivery.frame)
    return "sent"


def _now_ms() -> int:
    return int(time.time() * 1000)
