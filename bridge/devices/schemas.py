"""What devices send: their registration, and the envelope of every message
(protocol/bridge.md §8). A payload is passed on as it came, and may be one that this server cannot
read."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from bridge.schemas import Id, Milliseconds, TaskId, Text

#: Bytes of the JSON of what a device can do.
MAX_CAPABILITIES = 8_000

#: Ids stand in addresses. Eight characters at least: routes have shorter words in their place.
DeviceId = Annotated[str, Meta(min_length=8, max_length=100, pattern=r"^[A-Za-z0-9._:-]+$")]
MessageId = Annotated[str, Meta(min_length=8, max_length=128, pattern=r"^[A-Za-z0-9._:-]+$")]
DeviceName = Annotated[str, Meta(min_length=1, max_length=200)]
PublicKey = Annotated[str, Meta(max_length=8_000)]


class _Shape(Struct, rename="camel"):
    pass


class Facts(_Shape):
    """What a device says of itself, and may change; null: as it was."""

    device_name: DeviceName | None = None
    platform: Annotated[str, Meta(max_length=50)] | None = None
    capabilities: dict[str, Any] | None = None
    public_key: PublicKey | None = None


class Registration(_Shape, kw_only=True):
    """A device that comes to be paired."""

    device_id: DeviceId
    device_name: DeviceName
    device_type: Literal["mobile", "desktop"]
    platform: Annotated[str, Meta(max_length=50)] = ""
    capabilities: dict[str, Any] = {}
    public_key: PublicKey = ""


class Envelope(_Shape, kw_only=True):
    """A message between devices. payload: a JSON object. source_device_id is what the sender says
    of itself, and nothing is made of it. task_id: keeps the order where the payload is not to be
    read; else that of the payload. priority, expires_at: of commands. id: may be in a header
    of its request instead."""

    payload: Raw
    id: MessageId | None = None
    type: Annotated[str, Meta(max_length=50)] | None = None
    timestamp: Milliseconds | None = None
    source_device_id: Annotated[str, Meta(max_length=200)] | None = None
    target_device_id: Id | None = None
    task_id: TaskId | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    expires_at: Milliseconds | None = None


class Peek(_Shape):
    """The parts of a readable payload that the order and the audit trail are kept by."""

    task_id: TaskId | None = None
    text: Text | None = None


class Receipt(_Shape):
    """A device's acknowledgement of a command. success: False for one that it will not carry out,
    for the reason ``error``."""

    id: MessageId
    success: bool = True
    error: Annotated[str, Meta(max_length=200)] | None = None
