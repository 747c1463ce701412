"""Paired devices, the codes that they are paired by, and the commands that wait for them."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor

#: A device whose process did not mention it for longer is not connected any more.
HEARD_WITHIN = timedelta(seconds=60)


def _device_id() -> str:
    return new_id("dev")


class DeviceQuerySet(models.QuerySet["Device"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(owner_id=actor.user_id)

    def alive(self) -> Self:
        """Those that were not removed, of people who are active."""
        return self.filter(revoked_at=None, owner__is_active=True)

    def connected(self, at: datetime) -> Self:
        return self.filter(last_seen_at__gt=at - HEARD_WITHIN).exclude(sid="")


class Device(models.Model):
    """A phone or companion that its owner paired. ``device_id`` is the device's own."""

    class Kind(models.TextChoices):
        MOBILE = "mobile", "Phone"
        DESKTOP = "desktop", "Computer"

    id = models.CharField(primary_key=True, max_length=40, default=_device_id, editable=False)
    owner = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    device_id = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=Kind)
    platform = models.CharField(max_length=50, blank=True)
    capabilities = models.TextField(default="{}")  # a JSON object, of the device's making
    public_key = models.TextField(blank=True)  # for the owner's other devices
    proven_at = models.DateTimeField()  # when the owner last vouched for it by a fresh sign-in
    # Hashes of the secrets that it holds now, and of those before until it has used the new ones:
    token_hash = models.CharField(max_length=64, blank=True)  # empty: it has to be paired again
    refresh_hash = models.CharField(max_length=64, blank=True)
    token_expires_at = models.DateTimeField()
    refresh_expires_at = models.DateTimeField()
    is_token_used = models.BooleanField(default=False)
    previous_token_hash = models.CharField(max_length=64, blank=True)
    previous_refresh_hash = models.CharField(max_length=64, blank=True)
    previous_until = models.DateTimeField(null=True, blank=True)  # how long that token still works
    node = models.CharField(max_length=40, blank=True)  # the process that holds its socket …
    sid = models.CharField(max_length=40, blank=True)  # … and which one; empty: none now
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    unscoped = DeviceQuerySet.as_manager()
    objects = ScopedManager.from_queryset(DeviceQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["device_id"], condition=Q(revoked_at=None), name="bridge_device_once"
            ),
            *(
                UniqueConstraint(
                    fields=[field], condition=~Q(**{field: ""}), name=f"bridge_device_{name}_once"
                )
                for field, name in (
                    ("token_hash", "token"),
                    ("refresh_hash", "refresh"),
                    ("previous_token_hash", "old_token"),
                    ("previous_refresh_hash", "old_refresh"),
                )
            ),
        ]
        indexes = [Index(fields=["owner", "-created_at"], name="bridge_device_of_owner")]

    def __str__(self) -> str:
        return self.name

    def is_connected(self, at: datetime) -> bool:
        """As ``DeviceQuerySet.connected`` says."""
        return bool(self.sid) and self.last_seen_at > at - HEARD_WITHIN


class Pairing(models.Model):
    """A code that one device may be registered by, once (SI9). Made after a fresh sign-in (R4)."""

    code_hash = models.CharField(unique=True, max_length=64)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True, blank=True)
    device = models.ForeignKey(
        Device, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    unscoped = models.Manager["Pairing"]()

    class Meta:
        indexes = [Index(fields=["user", "-created_at"], name="bridge_pairing_of_user")]

    def __str__(self) -> str:
        return f"Code of {self.created_at:%Y-%m-%d %H:%M}"


class QueuedCommandQuerySet(models.QuerySet["QueuedCommand"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(owner_id=actor.user_id)

    def open(self) -> Self:
        """Neither acknowledged nor ended otherwise."""
        return self.filter(settled_at=None)


class QueuedCommand(models.Model):
    """A command for a device, delivered until the device acknowledges it (D1). The key of the row
    is its place in the order; ``key`` is the sender's id of it, by which the device applies it
    once."""

    class State(models.TextChoices):
        PENDING = "pending", "Waiting for the device"
        SENT = "sent", "Sent"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        EXPIRED = "expired", "Expired"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Taken back"

    id = models.BigAutoField(primary_key=True)
    owner = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=128)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of what the sender asked for
    target = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="commands")
    source = models.ForeignKey(
        Device, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=50)  # "new_task" …
    task_id = models.CharField(max_length=128, blank=True)  # those of one task keep their order
    payload = models.TextField(blank=True)  # JSON, unread; emptied when the command ends
    priority = models.SmallIntegerField(default=0)  # higher goes first
    given_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=State, default=State.PENDING)
    reason = models.CharField(max_length=200, blank=True)
    sid = models.CharField(max_length=40, blank=True)  # the socket that it last went out by
    sent_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)  # when it is sent by that one again
    retry_count = models.SmallIntegerField(default=0)
    settled_at = models.DateTimeField(null=True, blank=True)

    unscoped = QueuedCommandQuerySet.as_manager()
    objects = ScopedManager.from_queryset(QueuedCommandQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["owner", "key"], name="bridge_queued_once"),
            CheckConstraint(
                condition=Q(state__in=("pending", "sent")) ^ Q(settled_at__isnull=False),
                name="bridge_queued_settled_at_its_end",
            ),
        ]
        indexes = [
            Index(
                "target", "task_id", "id", condition=Q(settled_at=None), name="bridge_queued_open"
            ),
            Index("expires_at", condition=Q(settled_at=None), name="bridge_queued_expiry"),
            Index(
                "settled_at", condition=Q(settled_at__isnull=False), name="bridge_queued_settled"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
