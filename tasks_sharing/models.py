"""Tasks, their messages, and the links that show them to others."""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import CheckConstraint, FilteredRelation, Q, UniqueConstraint

from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _task_id() -> str:
    return new_id("task")


def _share_id() -> str:
    return new_id("share")


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, actor: "Actor") -> Self:
        """The actor's own: personal ones, and those of organizations that they belong to now (A4).
        What colleagues may see is decided task by task, by tasks_sharing.policy."""
        seat = FilteredRelation(
            "organization__memberships",
            condition=Q(organization__memberships__user_id=actor.user_id),
        )
        return self.alias(seat=seat).filter(
            Q(organization=None) | Q(seat__isnull=False),
            owner_id=actor.user_id,
            owner__is_active=True,
        )

    def of_organization(self, organization_id: str) -> Self:
        return self.filter(organization_id=organization_id)


class Task(models.Model):
    """One conversation with an agent, as its editor reported it."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"

    id = models.CharField(primary_key=True, max_length=40, default=_task_id, editable=False)
    task_id = models.CharField(max_length=64)  # the client's own; unique for its owner alone
    owner = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="tasks")
    organization = models.ForeignKey(  # that of the first event; None: personal
        "orgs.Organization", null=True, blank=True, on_delete=models.CASCADE, related_name="tasks"
    )
    title = models.CharField(max_length=200, blank=True)
    title_ts = models.BigIntegerField(null=True)  # of the message that the title is from
    parent_task_id = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    mode = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=100, blank=True)
    repository_url = models.CharField(max_length=500, blank=True)
    repository_name = models.CharField(max_length=200, blank=True)
    branch = models.CharField(max_length=200, blank=True)
    # Totals of the editor's "LLM Completion" events. Tokens in include cached ones.
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost_nanos = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    last_activity_at = models.DateTimeField()
    is_from_start = models.BooleanField(default=False)  # its "Task Created" was seen
    backfill_requested_at = models.DateTimeField(null=True)  # a snapshot is on its way
    backfilled_at = models.DateTimeField(null=True)  # the whole conversation was stored
    backfill_failed_at = models.DateTimeField(null=True)  # the last snapshot could not be stored
    share_missed_at = models.DateTimeField(null=True)  # when a share last asked for a backfill

    unscoped = TaskQuerySet.as_manager()
    objects = ScopedManager.from_queryset(TaskQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["owner", "task_id"], name="tasks_task_once_an_owner")
        ]
        indexes = [
            models.Index(fields=["owner", "-last_activity_at", "id"], name="tasks_task_of_owner"),
            models.Index(
                fields=["organization", "-last_activity_at", "id"], name="tasks_task_of_org"
            ),
            models.Index(fields=["task_id"], name="tasks_task_by_client_id"),
            models.Index(fields=["-created_at", "id"], name="tasks_task_recent"),
        ]

    def __str__(self) -> str:
        return self.task_id  # not the title: that is somebody's prompt

    @property
    def is_awaited(self) -> bool:
        """A snapshot was accepted and is not stored yet."""
        return self.backfill_requested_at is not None and (
            self.backfilled_at is None or self.backfilled_at < self.backfill_requested_at
        )


class Message(models.Model):
    """One message as the client sent it.

    ``ts`` is no key: two messages of a millisecond differ in kind alone (trap 23).
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="messages")
    ts = models.BigIntegerField()  # epoch ms, by the client's clock
    type = models.CharField(max_length=8)  # ask, say
    kind = models.CharField(max_length=64)  # of the ask or say
    body = models.TextField()  # ASCII JSON of the whole message (roocloud.lib.wire.dumps)

    unscoped = models.Manager["Message"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["task", "ts", "type", "kind"], name="tasks_message_once")
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.kind} {self.ts}"


class ShareQuerySet(models.QuerySet["Share"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those of the actor's own tasks."""
        return self.filter(task__in=Task.objects.visible_to(actor))

    def live(self, at: datetime) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)


class Share(models.Model):
    """A link to a task. Only whoever knows the token finds it."""

    class Visibility(models.TextChoices):
        ORGANIZATION = "organization", "Organization"
        PUBLIC = "public", "Public"

    id = models.CharField(primary_key=True, max_length=40, default=_share_id, editable=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="shares")
    visibility = models.CharField(max_length=12, choices=Visibility)
    token_hash = models.CharField(max_length=64, unique=True)
    sealed_token = models.TextField()  # so that its owner can copy the link again
    made_by_id = models.CharField(max_length=40)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    unscoped = ShareQuerySet.as_manager()
    objects = ScopedManager.from_queryset(ShareQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["task", "visibility"],
                condition=Q(revoked_at=None),
                name="tasks_share_once_a_visibility",
            ),
            CheckConstraint(
                condition=Q(visibility__in=["organization", "public"]),
                name="tasks_share_known_visibility",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_visibility_display()} link"

    @property
    def token_context(self) -> str:
        return f"tasks_sharing.share.token:{self.pk}"
