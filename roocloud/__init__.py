"""The deployment: settings, entry points, routing, and what every room is served by."""

from roocloud.celery import app as celery_app

__all__ = ["celery_app"]
