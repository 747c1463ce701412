"""``GET /api/extension-settings`` (protocol/settings.md §1)."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import user_settings, versions
from accounts.bearer import BearerView
from orgs import queries, revalidation
from roocloud.lib.openapi import OBJECT


class ExtensionSettings(BearerView):
    """Both halves, also for a personal account. The context is the token's."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        at = timezone.now()
        newest = versions.newest(at=at)
        version = queries.settings_version(self.actor, at=at)
        mine = user_settings.current(user_id=self.actor.user_id, at=at)
        etag = f'"{version}-{mine.version}"'
        revalidation.note(self.actor, etag, newest=newest, at=at)
        queries.note_fetch(self.actor, at=at)
        headers = {"ETag": f"W/{etag}", **revalidation.HEADERS}
        if revalidation.matches(request.headers.get("If-None-Match", ""), etag):
            return Response(status=304, headers=headers)
        body = {
            "organization": queries.settings_document(version),
            "user": user_settings.document(mine),
        }
        return Response(body, headers=headers)


class LegacyOrganizationSettings(BearerView):
    """``GET /api/organization-settings``, up to 3.25.8: the organization's half, bare."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        version = queries.settings_version(self.actor, at=timezone.now())
        return Response(queries.settings_document(version))
