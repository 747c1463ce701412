"""Events as they came, and uploads of whole conversations that a job stores."""

from typing import TYPE_CHECKING, Self

from django.db import models

from roocloud.lib.ids import new_id

if TYPE_CHECKING:
    from datetime import datetime


def _job_id() -> str:
    return new_id("backfill")


class Event(models.Model):
    """One telemetry event. Clients strip most properties; what came is kept as it came."""

    user_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40, blank=True)
    type = models.CharField(max_length=100)
    task_id = models.CharField(max_length=64, blank=True)
    properties = models.TextField()  # ASCII JSON; of a task message without the message
    digest = models.CharField(max_length=64)  # of type and properties, to know a repetition by
    received_at = models.DateTimeField()

    unscoped = models.Manager["Event"]()

    class Meta:
        indexes = [
            models.Index(
                fields=["user_id", "digest", "-received_at"], name="telemetry_event_repeat"
            ),
            models.Index(fields=["-received_at", "id"], name="telemetry_event_recent"),
        ]

    def __str__(self) -> str:
        return self.type


class BackfillQuerySet(models.QuerySet["Backfill"]):
    def due(self, at: "datetime") -> Self:
        """Accepted, not stored, and not tried since ``at``."""
        return self.filter(state=Backfill.State.QUEUED, tried_at__lt=at)


class Backfill(models.Model):
    """An uploaded conversation. The row is the job's state; the body lies in storage."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    id = models.CharField(primary_key=True, max_length=40, default=_job_id, editable=False)
    user_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40, blank=True)
    task_pk = models.CharField(max_length=40)  # tasks_sharing.Task
    body = models.FileField(upload_to="backfills/", max_length=200)
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    message_count = models.PositiveIntegerField(default=0)
    received_at = models.DateTimeField()
    tried_at = models.DateTimeField()

    unscoped = BackfillQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["state", "tried_at"], name="telemetry_backfill_due"),
            models.Index(fields=["-received_at", "id"], name="telemetry_backfill_recent"),
            models.Index(fields=["task_pk"], name="telemetry_backfill_of_task"),
        ]

    def __str__(self) -> str:
        return self.pk
