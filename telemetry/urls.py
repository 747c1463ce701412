"""Routes of this room."""

from django.urls import path

from telemetry import api

urlpatterns = [
    path("api/events", api.Events.as_view()),
    path("api/events/backfill", api.BackfillView.as_view()),
]
