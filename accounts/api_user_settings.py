"""``PATCH`` (editors) and ``POST`` (the guide) ``/api/user-settings``."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import user_settings
from accounts.bearer import BearerView
from roocloud.lib import wire
from roocloud.lib.openapi import OBJECT, json_body


class UserSettingsView(BearerView):
    @extend_schema(request=json_body(user_settings.Body), responses=OBJECT)
    def patch(self, request: Request) -> Response:
        """The whole settings answer, with a greater version; 409 with the current ones if
        ``version`` is not the stored one."""
        changes, based_on = user_settings.read_changes(wire.loads(request._request.body))
        at = timezone.now()
        try:
            row = user_settings.update(by=self.actor, changes=changes, based_on=based_on, at=at)
        except user_settings.StaleVersion as stale:
            body = {
                "success": False,
                "error": stale.code,
                "message": stale.message,
                "current": stale.current,
            }
            return Response(body, status=409)
        return Response(user_settings.document(row))

    @extend_schema(request=json_body(user_settings.Body), responses=OBJECT)
    def post(self, request: Request) -> Response:
        """The same."""
        return self.patch(request)
