from django.urls import include, path

from bridge import api, pages, rest, team_pages

urlpatterns = [
    path("api/extension/bridge/config", api.BridgeConfig.as_view()),
    path("api/bridge/instances", rest.Instances.as_view()),
    path("api/bridge/instances/<path:instance_id>", rest.OneInstance.as_view()),
    path("api/bridge/commands", rest.Commands.as_view()),
    path("api/bridge/commands/<str:command_id>", rest.OneCommand.as_view()),
    path("roomote", pages.roomote, name="roomote"),
    path("roomote/manifest.webmanifest", pages.manifest, name="roomote-manifest"),
    path("roomote/worker.js", pages.worker, name="roomote-worker"),
    path("roomote/offline", pages.offline, name="roomote-offline"),
    path("", include("bridge.devices.urls")),
    path("roomote/<path:instance_id>", pages.editor, name="roomote-editor"),
    path(
        "organizations/<str:organization_id>/editors",
        team_pages.team,
        name="team-editors",
    ),
    path(
        "organizations/<str:organization_id>/editors/<str:user_id>/<path:instance_id>",
        team_pages.watch,
        name="watch-editor",
    ),
]
