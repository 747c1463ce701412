"""What editors and devices say, each in the other's words (protocol/bridge.md §8.2). Pure."""

import time
from collections.abc import Iterator
from uuid import uuid4

import msgspec
from msgspec import Raw

from bridge import packets
from bridge.devices.orders import Order
from bridge.models import Command
from bridge.schemas import (
    AnyCommand,
    ExtensionInstance,
    Message,
    MessageCommand,
    OfTask,
    Reader,
    StartTask,
    StartTaskCommand,
    StopTaskCommand,
    TaskEvent,
)

_starts, _refs = Reader(StartTask), Reader(OfTask)


def command_of(order: Order) -> AnyCommand | None:
    """The command to an editor that an order stands for; None for one that editors do not know.

    Raises InvalidInput for a payload that no editor would understand.
    """
    target, command_id = order.target_device_id, order.key
    match order.kind:
        case "new_task":
            start = _starts.read(order.payload)
            return StartTaskCommand(
                command_id=command_id, instance_id=target, payload=start, may_wait=True
            )
        case "abort_task":
            task = _refs.read(order.payload)
            return StopTaskCommand(command_id=command_id, instance_id=target, payload=task)
        case "user_message":
            task_id = _refs.read(order.payload).task_id
            words = _starts.read(order.payload)
            return MessageCommand(command_id=command_id, task_id=task_id, payload=words)
    return None


def envelope(kind: str, payload: object, *, source: str, target: str = "") -> str:
    """A message of this server's to devices, as a packet. source: who it is about."""
    document = {
        "id": str(uuid4()),
        "type": kind,
        "timestamp": int(time.time() * 1000),
        "sourceDeviceId": source,
        **({"targetDeviceId": target} if target else {}),
        "payload": payload,
    }
    return packets.event(kind, msgspec.json.encode(document).decode())


def status(device_id: str, **facts: object) -> str:
    """A device, or an editor, is there."""
    payload = {"deviceId": device_id, "status": "online", **facts}
    return envelope("device_status", payload, source=device_id)


def editor_status(instance: ExtensionInstance) -> str:
    """An editor is there."""
    name = instance.app_properties.hostname or instance.app_properties.editor_name
    where = instance.workspace_path
    return status(instance.instance_id, deviceName=name, deviceType="desktop", workspacePath=where)


def gone(device_id: str) -> str:
    """A device, or an editor, is not there any more."""
    return envelope("device_disconnect", {"deviceId": device_id}, source=device_id)


def outcome(key: str, state: str, reason: str, *, source: str) -> str:
    """What became of a command that a device gave. source: whom it was for."""
    payload = {"id": key, "status": state} | ({"error": reason} if reason else {})
    return envelope("sync_status", payload, source=source)


def receipt(row: Command) -> str:
    """The same for a command to an editor."""
    return outcome(row.key, row.state, row.reason, source=row.instance_id)


# --- What a task streams ----------------------------------------------------------------------


class _Tool(msgspec.Struct):
    tool: str = ""
    path: str = ""


_tools = msgspec.json.Decoder(_Tool)
_FILES = {
    "newFileCreated": "file_create",
    "editedExistingFile": "file_change",
    "appliedDiff": "file_change",
}
_TOOLS = {
    "tool": "tool_start", "command": "tool_start", "mcp_server_request_started": "tool_start",
    "command_output": "tool_complete", "mcp_server_response": "tool_complete",
    "error": "tool_error",
}  # fmt: skip


def told(event: TaskEvent, payload: str, *, source: str) -> Iterator[str]:
    """The packets that devices hear of what an editor publishes. payload: JSON of the event."""
    message = event.message
    if message is None:
        return
    yield envelope("conversation_update", Raw(payload.encode()), source=source)
    facts = {"taskId": event.task_id, "ts": message.ts}
    said = (message.ask if message.type == "ask" else message.say) or ""
    if (kind := _TOOLS.get(said)) is not None:
        kind = "tool_progress" if message.partial else kind
        yield envelope(kind, facts | {"tool": said}, source=source)
    if said == "tool" and not message.partial and (tool := _tool(message)) is not None:
        yield envelope(_FILES[tool.tool], facts | {"path": tool.path}, source=source)


def _tool(message: Message) -> _Tool | None:
    """The change of a file that a message is about."""
    try:
        tool = _tools.decode(message.text or "")
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None
    return tool if tool.tool in _FILES else None
