"""What editors ask of the bridge over HTTP."""

from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bearer import BearerView
from bridge import tokens
from roocloud.lib.openapi import OBJECT


class BridgeConfig(BearerView):
    """``GET /api/extension/bridge/config``, asked once for each window (protocol/bridge.md §1)."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        parts = urlsplit(settings.ROOCLOUD_PUBLIC_URL)
        return Response(
            {
                "userId": self.actor.user_id,
                # The bare origin: editors take a path for a namespace (trap 39).
                "socketBridgeUrl": f"{parts.scheme}://{parts.netloc}",
                "token": tokens.issue(self.actor, at=timezone.now()),
            }
        )
