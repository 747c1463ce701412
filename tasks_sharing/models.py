"""Tasks, their messages, and the links that show them to others."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec
from django.db import models
from django.db.models import CheckConstraint, Count, F, FilteredRelation, Max, Q, UniqueConstraint

from roocloud.lib import wire
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _task_id() -> str:
    return new_id("task")


def _share_id() -> str:
    return new_id("share")


def _import_id() -> str:
    return new_id("import")


def _mask_id() -> str:
    return new_id("mask")


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
        STOPPED = "stopped", "Stopped"  # it was imported without an end

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
    workspace = models.CharField(max_length=500, blank=True)  # a path on its owner's computer
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
    # The version of the detector that looks through the task's messages; empty: none does.
    guarded_by = models.CharField(max_length=32, blank=True, db_default="")
    masks_emails = models.BooleanField(default=False, db_default=False)
    # Its words are to be written down anew (tasks_sharing.search).
    words_due = models.BooleanField(default=True, db_default=True)

    unscoped = TaskQuerySet.as_manager()
    objects = ScopedManager.from_queryset(TaskQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["owner", "task_id"], name="tasks_task_once_an_owner")
        ]
        indexes = [
            models.Index(
                fields=["owner", "organization", "-last_activity_at", "id"],
                name="tasks_task_of_owner_in",
            ),
            models.Index("id", condition=Q(words_due=True), name="tasks_task_words_due"),
            models.Index(
                fields=["organization", "-last_activity_at", "id"], name="tasks_task_of_org"
            ),
            models.Index(fields=["task_id"], name="tasks_task_by_client_id"),
            models.Index(
                fields=["owner", "parent_task_id", "created_at", "id"],
                condition=~Q(parent_task_id=""),
                name="tasks_task_of_parent",
            ),
            models.Index(fields=["-created_at", "id"], name="tasks_task_recent"),
        ]

    def __str__(self) -> str:
        return self.task_id  # not the title: that is somebody's prompt

    @property
    def tenant_id(self) -> str:
        """Whose it is: an organization, or somebody's personal account."""
        return self.organization_id or self.owner_id

    @property
    def is_awaited(self) -> bool:
        """A snapshot was accepted and is not stored yet."""
        return self.backfill_requested_at is not None and (
            self.backfilled_at is None or self.backfilled_at < self.backfill_requested_at
        )


class TaskText(models.Model):
    """The words that a task is found by (tasks_sharing.search). Whose it is never changes."""

    id = models.BigIntegerField(primary_key=True)  # its place among all, by when it began
    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="said")
    owner_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40, null=True)  # noqa: DJ001  # as the task's
    words = models.TextField()  # different ones, each after a space

    unscoped = models.Manager["TaskText"]()

    class Meta:
        indexes = [
            models.Index(fields=["owner_id", "organization_id", "-id"], name="tasks_text_of_owner"),
            models.Index(fields=["organization_id", "-id"], name="tasks_text_of_org"),
        ]

    def __str__(self) -> str:
        return self.task_id


class Message(models.Model):
    """One message as the client sent it.

    ``ts`` is no key: two messages of a millisecond differ in kind alone (trap 23).
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="messages")
    ts = models.BigIntegerField()  # epoch ms, by the client's clock
    type = models.CharField(max_length=8)  # ask, say
    kind = models.CharField(max_length=64)  # of the ask or say
    body = models.TextField()  # ASCII JSON of the whole message (roocloud.lib.wire.dumps)
    # Of a guarded task, and new or changed: nobody outside sees it before it was scanned.
    awaits_scan = models.BooleanField(default=False, db_default=False)
    # Of the body and the detector that scanned it: the same is not scanned twice.
    scan_key = models.CharField(max_length=64, blank=True, db_default="")
    # What overviews ask of the body (tasks_sharing.gists); None: they read it.
    gist = models.TextField(null=True, blank=True)  # noqa: DJ001  # empty is a gist of nothing

    unscoped = models.Manager["Message"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["task", "ts", "type", "kind"], name="tasks_message_once")
        ]
        indexes = [
            models.Index("task", condition=Q(awaits_scan=True), name="tasks_message_awaits_scan")
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.kind} {self.ts}"

    @property
    def document(self) -> dict[str, Any]:
        """The message as a client knows it, but for its images (tasks_sharing.pictures); empty if
        that cannot be read. Its depth was checked when it was stored, so the quick reader will do,
        where no lone surrogate stops it."""
        try:
            document = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            try:
                document = wire.loads(self.body.encode())
            except InvalidInput:
                return {}
        return document if isinstance(document, dict) else {}


class Image(models.Model):
    """An image that messages carry, stored once for each tenant: that it is stored already tells
    nobody of another tenant's."""

    tenant_id = models.CharField(max_length=40)  # an organization's or a person's id
    digest = models.CharField(max_length=64)  # SHA-256 of the bytes
    content_type = models.CharField(max_length=20)  # what the bytes are
    data = models.BinaryField()

    unscoped = models.Manager["Image"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["tenant_id", "digest"], name="tasks_image_once_a_tenant")
        ]

    def __str__(self) -> str:
        return self.digest


class ImageUse(models.Model):
    """A task that has, or had, an image in one of its messages."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="image_uses")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="uses")

    unscoped = models.Manager["ImageUse"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["task", "image"], name="tasks_image_use_once_a_task")
        ]

    def __str__(self) -> str:
        return f"{self.task_id} {self.image_id}"


class ShareQuerySet(models.QuerySet["Share"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those of the actor's own tasks."""
        return self.filter(task__in=Task.objects.visible_to(actor))

    def live(self, at: datetime) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)

    def with_views(self) -> Self:
        """Each with ``view_count``, how often it was read, and ``viewed_at``, when last."""
        read = Count("views", filter=Q(views__form=ShareView.Form.PAGE))
        return self.annotate(
            view_count=F("forgotten_views") + read, viewed_at=Max("views__opened_at")
        )


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
    # How long it lives, as its owner chose; None: as long as the policy lets it.
    lifetime = models.DurationField(null=True, blank=True)
    renewed_at = models.DateTimeField(null=True, blank=True)  # its life counts from then
    # By its lifetime and the policy of then; see policy.ends_at for that of now.
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    forgotten_views = models.PositiveBigIntegerField(
        default=0, db_default=0
    )  # rows that were pruned

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


class ShareView(models.Model):
    """That somebody opened a link. Once an hour for the same reader and form, so that neither a
    reload nor a machine that asks all day fills the table."""

    class Form(models.TextChoices):
        PAGE = "page", "Read"
        MARKDOWN = "md", "Downloaded as Markdown"
        JSON = "json", "Downloaded as JSON"
        PATCH = "patch", "Downloaded as a patch"

    share = models.ForeignKey(Share, on_delete=models.CASCADE, related_name="views")
    opened_at = models.DateTimeField()
    hour = models.DateTimeField()  # that opened_at is in
    viewer_id = models.CharField(max_length=40, blank=True)  # of a member; empty: anybody else
    network = models.CharField(max_length=50, blank=True)  # roocloud.lib.addresses.network_of
    form = models.CharField(max_length=8, choices=Form, default=Form.PAGE)

    unscoped = models.Manager["ShareView"]()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["share", "hour", "viewer_id", "network", "form"],
                name="tasks_share_view_once_an_hour",
            )
        ]
        indexes = [
            models.Index(fields=["share", "-opened_at", "id"], name="tasks_share_view_of_share"),
            models.Index(fields=["opened_at"], name="tasks_share_view_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.share_id} {self.opened_at:%Y-%m-%d %H:%M}"


class ImportQuerySet(models.QuerySet["Import"]):
    def visible_to(self, actor: "Actor") -> Self:
        """The actor's own, wherever they put the tasks."""
        return self.filter(owner_id=actor.user_id)

    def running(self) -> Self:
        return self.filter(state=Import.State.RUNNING)


class Import(models.Model):
    """An archive of tasks that somebody brought from their computer. The row is the job's state;
    the archive lies in storage until the job ends."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"
        FAILED = "failed", "Failed"

    id = models.CharField(primary_key=True, max_length=40, default=_import_id, editable=False)
    owner = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="imports")
    organization = models.ForeignKey(  # where tasks that are new go; None: personal
        "orgs.Organization", null=True, on_delete=models.CASCADE, related_name="imports"
    )
    upload = models.FileField(upload_to="imports/", max_length=200, blank=True)
    total = models.PositiveIntegerField()  # tasks in the archive
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    attempts = models.PositiveIntegerField(default=0)  # at the task that is next
    error = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField()
    tried_at = models.DateTimeField()  # the last sign of life
    ended_at = models.DateTimeField(null=True)

    unscoped = ImportQuerySet.as_manager()
    objects = ScopedManager.from_queryset(ImportQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["owner"], condition=Q(state="running"), name="tasks_import_one_at_a_time"
            )
        ]
        indexes = [
            models.Index(fields=["owner", "-started_at", "id"], name="tasks_import_of_owner"),
            models.Index(fields=["state", "tried_at"], name="tasks_import_due"),
        ]

    def __str__(self) -> str:
        return self.pk


class ImportedTask(models.Model):
    """What became of one task of an archive. It is made in the transaction that stores the task, so
    an import that is started again goes on after it."""

    class Outcome(models.TextChoices):
        NEW = "new", "Imported"
        ADDED = "added", "Messages added"
        SAME = "same", "Already here"
        SKIPPED = "skipped", "Skipped"

    run = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="tasks")
    position = models.PositiveIntegerField()  # in the archive
    name = models.CharField(max_length=300)  # its folder there
    task_id = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.CharField(max_length=300, blank=True)  # why it was skipped
    message_count = models.PositiveIntegerField(default=0)  # that were new

    unscoped = models.Manager["ImportedTask"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["run", "position"], name="tasks_imported_once_a_run")
        ]
        indexes = [
            models.Index(fields=["run", "outcome", "position"], name="tasks_imported_by_outcome")
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.position}"


class MaskQuerySet(models.QuerySet["Mask"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those of the actor's own tasks."""
        return self.filter(task__in=Task.objects.visible_to(actor))


class Mask(models.Model):
    """Something of a task that its public link does not show.

    Of the task and not of a share: it is there before the link is, and stays for the next one.
    """

    class Scope(models.TextChoices):
        TEXT = "text", "Text"
        FILE = "file", "File"
        MESSAGE = "message", "Message"

    id = models.CharField(primary_key=True, max_length=40, default=_mask_id, editable=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="masks")
    scope = models.CharField(max_length=8, choices=Scope)
    kind = models.CharField(max_length=64)  # for readers: "GitHub token"
    number = models.PositiveIntegerField()  # among the task's masks of that kind
    fingerprint = models.CharField(max_length=64)  # of what is masked: the same is masked once
    sealed = models.TextField(blank=True)  # needles of a text, path of a file (tasks_sharing.guard)
    # The message that is masked, or in which it was first found. Its row changes with backfills.
    message_ts = models.BigIntegerField()
    message_type = models.CharField(max_length=8)
    message_kind = models.CharField(max_length=64, blank=True)
    made_by_id = models.CharField(max_length=40, blank=True)  # empty: the detector
    created_at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True, blank=True)  # the author found it harmless

    unscoped = MaskQuerySet.as_manager()
    objects = ScopedManager.from_queryset(MaskQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["task", "fingerprint"], name="tasks_mask_once"),
            UniqueConstraint(fields=["task", "kind", "number"], name="tasks_mask_numbered"),
            CheckConstraint(
                condition=Q(scope__in=["text", "file", "message"]), name="tasks_mask_known_scope"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.number}"

    @property
    def sealed_context(self) -> str:
        return f"tasks_sharing.mask.sealed:{self.pk}"
