"""Routes of devices."""

from django.urls import path

from bridge.devices import api, pages

urlpatterns = [
    path("api/devices", api.Devices.as_view()),
    path("api/devices/claim", api.Claim.as_view()),
    path("api/devices/token", api.Tokens.as_view()),
    path("api/devices/<str:device_id>", api.OneDevice.as_view()),
    path("api/devices/<str:device_id>/commands", api.Commands.as_view()),
    path("api/devices/<str:device_id>/commands/<str:key>", api.OneCommand.as_view()),
    path("roomote/devices", pages.devices, name="paired-devices"),
    path("roomote/devices/pair", pages.pair, name="pair-device"),
    path("roomote/devices/pair/code", pages.code, name="pairing-code"),
    path("roomote/devices/<str:device_pk>", pages.device, name="paired-device"),
    path("roomote/devices/<str:device_pk>/confirm", pages.confirm, name="confirm-device"),
    path("roomote/devices/<str:device_pk>/remove", pages.remove, name="remove-device"),
    path(
        "roomote/devices/<str:device_pk>/commands/<str:key>/cancel",
        pages.cancel,
        name="cancel-device-command",
    ),
]
