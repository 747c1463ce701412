"""``POST /api/events`` and ``/api/events/backfill`` (protocol/tasks-and-telemetry.md §1, §3)."""

from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bearer import BearerView
from roocloud.lib import wire
from roocloud.lib.openapi import OBJECT
from roocloud.lib.refusals import InvalidInput
from telemetry import actions

EVENT = {
    "type": "object",
    "properties": {"type": {"type": "string"}, "properties": {"type": "object"}},
    "required": ["type"],
}


class Events(BearerView):
    @extend_schema(request={"application/json": EVENT}, responses=OBJECT)
    def post(self, request: Request) -> Response:
        """Store an event or a list of them. The answer comes after the commit: editors drop an
        event on any 4xx but 429, and send it again on 5xx."""
        events = actions.read_events(request._request.body)
        accepted = actions.record_events(
            actor=self.actor,
            events=events,
            is_retry="X-Retry-Queue" in request.headers,
            at=timezone.now(),
        )
        return Response({"success": True, "accepted": accepted})


class BackfillView(BearerView):
    @extend_schema(
        request={
            "multipart/form-data": {
                "type": "object",
                "properties": {
                    "taskId": {"type": "string"},
                    "properties": {"type": "string"},
                    "file": {"type": "string", "format": "binary"},
                },
                "required": ["taskId", "file"],
            },
            "application/json": {"type": "array", "items": EVENT},
        },
        responses=OBJECT,
    )
    def post(self, request: Request) -> Response:
        """A whole conversation as a file (editors), or a list of events (the guide)."""
        django_request = request._request
        kind = django_request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return self._upload(django_request)
        value = wire.loads(django_request.body)
        if isinstance(value, dict) and "messages" in value:
            return self._snapshot(value)
        events = actions.events_of(value)
        accepted = actions.record_events(
            actor=self.actor, events=events, is_retry=True, at=timezone.now()
        )
        rejected = len(events) - accepted
        return Response({"success": True, "accepted": accepted, "rejected": rejected})

    def _upload(self, request: HttpRequest) -> Response:
        file = request.FILES.get("file")
        if not isinstance(file, UploadedFile):
            raise InvalidInput("must be a file of messages", field="file")
        messages = actions.read_messages(file.read(), field="file")
        file.seek(0)
        properties = _properties(request.POST.get("properties", "{}"))
        return self._accept(request.POST.get("taskId"), properties, file, len(messages))

    def _snapshot(self, value: dict[str, Any]) -> Response:
        messages, properties = value["messages"], value.get("properties", {})
        if not isinstance(messages, list):
            raise InvalidInput("must be a list of messages", field="messages")
        if not isinstance(properties, dict):
            raise InvalidInput("must be an object", field="properties")
        body = ContentFile(wire.dumps(messages).encode())
        return self._accept(value.get("taskId"), properties, body, len(messages))

    def _accept(
        self, task_id: object, properties: dict[str, Any], body: File[Any], count: int
    ) -> Response:
        job = actions.accept_backfill(
            actor=self.actor,
            task_id=task_id,
            properties=properties,
            body=body,
            at=timezone.now(),
        )
        accepted = count if job else 0
        return Response({"success": True, "accepted": accepted, "rejected": count - accepted})


def _properties(text: str) -> dict[str, Any]:
    try:
        properties = wire.loads(text.encode("utf-8", "surrogatepass"))
    except InvalidInput as refusal:
        raise InvalidInput(refusal.message, field="properties") from None
    if not isinstance(properties, dict):
        raise InvalidInput("must be a JSON object", field="properties")
    return properties
