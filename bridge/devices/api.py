"""``/api/devices``: what paired devices ask over HTTP (protocol/bridge.md §8)."""

from datetime import datetime
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.bearer import bearer_value
from bridge import overview
from bridge.devices import orders, queue, registry
from bridge.devices.models import Device, QueuedCommand
from bridge.devices.registry import PERMISSIONS, Credentials
from bridge.devices.schemas import Envelope, Facts, Registration
from roocloud.lib import wire
from roocloud.lib.access import Access
from roocloud.lib.openapi import OBJECT, json_body
from roocloud.lib.refusals import Unauthenticated

#: Commands that one answer lists: the next to go out.
_MOST_LISTED = 1000
_KEY = OpenApiParameter("Idempotency-Key", location="header", description="In place of `id`.")


class _View(APIView):
    """A route for what devices hold; ``self.secret`` is what this one shows."""

    access: ClassVar[Access] = Access("device")
    authentication_classes = ()
    permission_classes = ()
    secret: str

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        secret = bearer_value(request.headers.get("Authorization"))
        if secret is None:
            raise Unauthenticated("This needs an Authorization: Bearer header")
        self.secret = secret
        super().initial(request, *args, **kwargs)


class Claim(_View):
    """``POST /api/devices/claim``, by a code: register the device that read it, or re-key it."""

    @extend_schema(request=json_body(Registration), responses=OBJECT)
    def post(self, request: Request) -> Response:
        registration = wire.read(request.body, Registration)
        made = registry.claim(registration, code=self.secret, at=timezone.now())
        return Response(_credentials(made), status=201 if made.is_new else 200)


class Tokens(_View):
    """``POST /api/devices/token``, by a refresh token: new tokens for old."""

    @extend_schema(request=None, responses=OBJECT)
    def post(self, request: Request) -> Response:
        return Response(_credentials(registry.rotate(refresh_token=self.secret, at=timezone.now())))


def _credentials(made: Credentials) -> dict[str, Any]:
    device = made.device
    return {
        "jwt": made.token,
        "refreshToken": made.refresh_token,
        "expiresAt": _ms(device.token_expires_at),
        "deviceId": device.device_id,
        "userId": device.owner_id,
        "permissions": list(PERMISSIONS),
    }


class DeviceView(_View):
    """A route for a device's own token; ``self.device`` asks, for its owner ``self.actor``."""

    device: Device
    actor: Actor

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.device = registry.of_token(self.secret, at=timezone.now())
        self.actor = registry.actor_of(self.device)


class Devices(DeviceView):
    """``GET /api/devices``: the owner's devices and open editors. ``POST``: change one's own."""

    @extend_schema(operation_id="api_devices_list", responses=OBJECT)
    def get(self, request: Request) -> Response:
        at = timezone.now()
        devices = [_described(device, at=at) for device in registry.mine(self.actor)]
        editors = [
            _editor(one) for one in overview.editors(self.actor, at=at) if one.state != "offline"
        ]
        return Response({"devices": devices + editors})

    @extend_schema(request=json_body(Facts), responses=OBJECT)
    def post(self, request: Request) -> Response:
        return _changed(self.device, self.actor, request)


class OneDevice(DeviceView):
    """``GET|PATCH|DELETE /api/devices/{deviceId}``: one of the owner's."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request, device_id: str) -> Response:
        device = registry.find(self.actor, device_id)
        return Response({"device": _described(device, at=timezone.now())})

    @extend_schema(request=json_body(Facts), responses=OBJECT)
    def patch(self, request: Request, device_id: str) -> Response:
        return _changed(registry.find(self.actor, device_id), self.actor, request)

    @extend_schema(responses=OBJECT)
    def delete(self, request: Request, device_id: str) -> Response:
        device = registry.find(self.actor, device_id)
        registry.remove(device=device, by=self.actor, at=timezone.now())
        return Response({"success": True})


def _changed(device: Device, by: Actor, request: Request) -> Response:
    at = timezone.now()
    registry.change(device=device, by=by, facts=wire.read(request.body, Facts), at=at)
    return Response({"device": _described(device, at=at)})


def _described(device: Device, *, at: datetime) -> dict[str, Any]:
    return {
        "deviceId": device.device_id,
        "deviceName": device.name,
        "deviceType": device.kind,
        "platform": device.platform,
        "capabilities": wire.loads(device.capabilities.encode()),
        "publicKey": device.public_key,
        "status": "online" if device.is_connected(at) else "offline",
        "lastSeen": _ms(device.last_seen_at),
        "createdAt": _ms(device.created_at),
    }


def _editor(editor: overview.Editor) -> dict[str, Any]:
    """A window of an editor, which is a device without a key (protocol/bridge.md §8.1)."""
    name = " – ".join(  # noqa: RUF001 - the protocol's own dash
        filter(None, (editor.row.host, editor.row.workspace_path))
    )
    return {
        "deviceId": editor.instance_id,
        "deviceName": name[:200],
        "deviceType": "desktop",
        "platform": editor.instance.app_properties.platform[:50],
        "capabilities": {"bridge": True},
        "publicKey": "",
        "status": "online",
        "lastSeen": _ms(editor.row.last_seen_at),
        "createdAt": _ms(editor.row.first_seen_at),
    }


class Commands(DeviceView):
    """``GET /api/devices/{deviceId}/commands``: what waits for it, in the order of its delivery.
    ``POST``: one more."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request, device_id: str) -> Response:
        device = registry.find(self.actor, device_id)
        rows = queue.waiting(self.actor, device)[:_MOST_LISTED]
        return Response({"commands": [_waiting(row) for row in rows]})

    @extend_schema(request=json_body(Envelope), parameters=[_KEY], responses=OBJECT)
    def post(self, request: Request, device_id: str) -> Response:
        at = timezone.now()
        order = orders.read_order(
            request.body,
            key=request.headers.get("Idempotency-Key"),
            by=registry.standing_of(self.device, at=at),
            target_device_id=registry.find(self.actor, device_id).device_id,
            at=at,
        )
        placed = orders.place_one(order)
        answer = {"success": True, "id": placed.key, "status": "queued"}
        headers = {} if placed.is_new else {"Idempotent-Replayed": "true"}
        return Response(answer, status=202, headers=headers)


class OneCommand(DeviceView):
    """``GET /api/devices/{deviceId}/commands/{id}``: what became of it (N7). ``DELETE``: take back
    what did not go out yet."""

    @extend_schema(operation_id="api_devices_command", responses=OBJECT)
    def get(self, request: Request, device_id: str, key: str) -> Response:
        device = registry.find(self.actor, device_id)
        row = queue.find(device=device, key=key, by=self.actor)
        return Response({"command": _waiting(row) | {"error": row.reason}})

    @extend_schema(responses=OBJECT)
    def delete(self, request: Request, device_id: str, key: str) -> Response:
        device = registry.find(self.actor, device_id)
        queue.cancel(device=device, key=key, by=self.actor, at=timezone.now())
        return Response({"success": True, "id": key, "status": "cancelled"})


def _waiting(row: QueuedCommand) -> dict[str, Any]:
    return {
        "id": row.key,
        "type": row.kind,
        "taskId": row.task_id,
        "sourceDeviceId": row.source.device_id if row.source else None,
        "priority": row.priority,
        "status": row.state,
        "retryCount": row.retry_count,
        "createdAt": _ms(row.given_at),
        "expiresAt": _ms(row.expires_at),
    }


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
