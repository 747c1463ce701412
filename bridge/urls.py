from django.urls import include, path

from bridge import api, pages

urlpatterns = [
    path("api/extension/bridge/config", api.BridgeConfig.as_view()),
    path("roomote", pages.roomote, name="roomote"),
    path("roomote/manifest.webmanifest", pages.manifest, name="roomote-manifest"),
    path("roomote/worker.js", pages.worker, name="roomote-worker"),
    path("roomote/offline", pages.offline, name="roomote-offline"),
    path("", include("bridge.devices.urls")),
    path("roomote/<path:instance_id>", pages.editor, name="roomote-editor"),
]
