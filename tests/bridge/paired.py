"""Devices that tests start from."""

import json
from typing import Any

from django.utils import timezone

from bridge.devices import orders, registry
from bridge.devices.models import Device, QueuedCommand
from bridge.devices.registry import Credentials
from bridge.devices.schemas import Envelope, Registration
from bridge.schemas import Reader
from tests import factories

FACTS: dict[str, Any] = {
    "deviceId": "phone-0001", "deviceName": "Alice's phone", "deviceType": "mobile",
    "platform": "android", "capabilities": {"camera": True}, "publicKey": "key-1",
}  # fmt: skip


def code(person: Any) -> str:
    _, secret = registry.make_code(by=factories.actor(person), at=timezone.now())
    return secret


def paired(person: Any, device_id: str = "phone-0001", **facts: Any) -> Credentials:
    """A device of the person's, with its tokens."""
    registration = Registration(
        device_id=device_id,
        device_name=facts.pop("name", f"{person.first_name}'s phone"),
        device_type=facts.pop("kind", "mobile"),
        **facts,
    )
    return registry.claim(registration, code=code(person), at=timezone.now())


def bearer(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials.token}"}


def order(device: Device, target: str, key: str, **changes: Any) -> orders.Order:
    """The start of a task, given by a device."""
    at = changes.pop("at", timezone.now())
    document = {"id": key, "targetDeviceId": target, "payload": {"text": "Mend it"}, **changes}
    envelope = Reader(Envelope).read(json.dumps(document))
    kind = envelope.type or "new_task"
    return orders.order_of(envelope, kind=kind, by=registry.standing_of(device, at=at), at=at)


def waiting(device: Device, key: str = "command-1", **changes: Any) -> QueuedCommand:
    """A command that waits for it, of its own."""
    orders.place_one(order(device, device.device_id, key, **changes))
    return QueuedCommand.unscoped.get(owner=device.owner_id, key=key)
