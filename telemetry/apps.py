from functools import partial
from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_delete


class TelemetryConfig(AppConfig):
    name = "telemetry"
    verbose_name = "Telemetry"

    def ready(self) -> None:
        from orgs import estate
        from telemetry import personal
        from telemetry.estate import Part

        # However a task goes, alone or with its owner or organization, its uploads go too.
        post_delete.connect(_forget, sender="tasks_sharing.Task")
        estate.register(Part())
        personal.declare()


def _forget(*, instance: Any, **_signal: Any) -> None:
    from telemetry.actions import forget_task

    transaction.on_commit(partial(forget_task, task_pk=instance.pk))
