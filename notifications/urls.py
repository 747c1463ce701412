"""Routes of this room."""

from django.urls import path

from notifications import pages

urlpatterns = [
    path("account/notifications", pages.notifications, name="notifications"),
    path("account/notifications/test", pages.test, name="notifications-test"),
    path("account/notifications/browsers", pages.subscribe, name="subscribe"),
    path("account/notifications/browsers/renew", pages.renew, name="renew-subscription"),
    path(
        "account/notifications/browsers/<str:subscription_id>/remove",
        pages.unsubscribe,
        name="unsubscribe",
    ),
]
