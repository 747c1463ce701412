"""A plain view of Django REST framework with one indexed read, and nothing around it.

  uvicorn plain_drf:application      ROW: the key of the row; DATABASE_URL: the deployment's own
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roocloud.settings")

import django
from django.conf import settings

django.setup()
settings.MIDDLEWARE = []
settings.ROOT_URLCONF = "plain_drf"

from django.core.handlers.asgi import ASGIHandler
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

from orgs.models import SettingsRevision


class Plain(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request):
        row = SettingsRevision.unscoped.values_list("version").get(pk=os.environ["ROW"])
        return Response({"version": row[0]})


urlpatterns = [path("api/extension-settings", Plain.as_view())]


_django = ASGIHandler()


async def application(scope, receive, send):
    if scope["type"] != "lifespan":
        return await _django(scope, receive, send)
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": message["type"] + ".complete"})
    await send({"type": "lifespan.shutdown.complete"})
