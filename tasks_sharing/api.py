"""``POST /api/extension/share`` (protocol/tasks-and-telemetry.md §4)."""

from typing import Annotated, Literal

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bearer import BearerView
from roocloud.lib import wire
from roocloud.lib.openapi import json_answer, json_body
from tasks_sharing import actions


class ShareRequest(Struct, rename="camel"):
    task_id: Annotated[str, Meta(min_length=1, max_length=actions.MAX_TASK_ID)]
    visibility: Literal["organization", "public"] = "organization"


class ShareResponse(Struct, rename="camel", omit_defaults=True):
    """Absent keys stay away: a null would fail the client's parser (trap 25)."""

    success: bool
    share_url: str = ""
    is_new_share: bool | None = None
    manage_url: str = ""
    error: str = ""


class ShareTask(BearerView):
    @extend_schema(request=json_body(ShareRequest), responses=json_answer(ShareResponse))
    def post(self, request: Request) -> Response:
        """The editor's Share button. A refusal by policy is a 200 with ``success: false``; a 404
        makes the editor upload the conversation and ask once more."""
        wanted = wire.read(request._request.body, ShareRequest)
        try:
            shared = actions.share_task(
                actor=self.actor,
                task_id=wanted.task_id,
                visibility=wanted.visibility,
                at=timezone.now(),
            )
        except actions.SharingRefused as refused:
            return Response({"success": False, "error": refused.message})
        manage = f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('task', args=[wanted.task_id])}"
        return Response(
            {
                "success": True,
                "shareUrl": shared.url,
                "isNewShare": shared.is_new,
                "manageUrl": manage,
            }
        )
