"""What an editor reports, and which commands it confirms (protocol/bridge.md §8.3). Pure.

The stock editor acknowledges nothing: that a command had its effect is seen from what it publishes
next (D2).
"""

from dataclasses import dataclass

from bridge.schemas import ExtensionEvent, ExtensionInstance, TaskEvent

#: Milliseconds that an editor takes to mention a question after it raised it.
_MENTIONED_WITHIN_MS = 3_000


@dataclass(slots=True)
class Question:
    """What a task waits for. ts: of its message, as the editor numbered it. heard_ms: when the
    editor last said that it is pending. is_answered: whether an answer went out. is_told: whether
    its person was told."""

    ts: int
    heard_ms: int
    is_answered: bool = False
    is_told: bool = False


def asked(event: TaskEvent) -> int | None:
    """The ``ts`` of the complete question that an event brings, if it brings one."""
    message = event.message
    if message is None or message.type != "ask" or message.partial:
        return None
    return int(message.ts)


def is_answered(question: Question, event: TaskEvent) -> bool:
    """Whether an event shows that the task went on: a later message, of either type."""
    message = event.message
    return message is not None and int(message.ts) > question.ts


def question_of(instance: ExtensionInstance) -> int | None:
    """The ``ts`` of the question that an instance says is pending in its task."""
    ask = instance.task_ask or instance.task.task_ask
    return int(ask.ts) if ask is not None else None


def is_withdrawn(question: Question, instance: ExtensionInstance, *, now_ms: int) -> bool:
    """Whether an instance that mentions no question takes this one back. Not while it is so new
    that it would not be mentioned yet."""
    return question_of(instance) is None and now_ms - question.heard_ms > _MENTIONED_WITHIN_MS


@dataclass(frozen=True, slots=True)
class Awaited:
    """A command that an editor was sent. ask_ts: the question that it answers."""

    kind: str
    task_id: str
    ask_ts: int | None
    sent_ms: int


_STARTED = frozenset({"taskCreated", "taskStarted"})
_STOPPED = frozenset({"taskAborted", "taskCompleted", "taskIdle", "taskResumable"})


def confirmed_by_event(awaited: Awaited, event: ExtensionEvent) -> bool:
    """Whether an event of the instance shows that the command was carried out."""
    task_id = event.instance.task.task_id
    match awaited.kind:
        case "start_task":
            return event.type in _STARTED
        case "stop_task":
            return event.type in _STOPPED
        case "resume_task":
            return event.type == "taskFocused" and task_id == awaited.task_id
        case "message":
            return event.type == "taskUserMessage" and task_id == awaited.task_id
        case _:
            return _went_on(awaited, event.instance)


def confirmed_by_snapshot(awaited: Awaited, instance: ExtensionInstance) -> bool:
    """The same for a heartbeat or a registration."""
    task = instance.task
    match awaited.kind:
        case "stop_task":
            return task.task_status != "running" or task.task_id != awaited.task_id
        case "resume_task":
            return task.task_id == awaited.task_id
        case "approve_ask" | "deny_ask":
            return _went_on(awaited, instance)
        case _:
            return False


def _went_on(awaited: Awaited, instance: ExtensionInstance) -> bool:
    return (
        instance.task.task_id == awaited.task_id
        and awaited.ask_ts is not None
        and question_of(instance) != awaited.ask_ts
    )


def confirmed_by_message(awaited: Awaited, event: TaskEvent) -> bool:
    """The same for what a task publishes."""
    message = event.message
    if message is None or event.task_id != awaited.task_id:
        return False
    match awaited.kind:
        case "message":
            return message.say in ("user_feedback", "user_feedback_diff")
        case "approve_ask" | "deny_ask":
            return awaited.ask_ts is not None and int(message.ts) > awaited.ask_ts
        case _:
            return False
