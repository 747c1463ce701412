"""Routes of this room that Django serves; completions are routed by ``roocloud.asgi``."""

from django.urls import path

from proxy import api

urlpatterns = [path("proxy/v1/models", api.Models.as_view())]
