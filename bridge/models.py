"""Editors that can be reached, the tokens that they connect with, and the commands sent to them."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.db import connection, models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint
from django.db.models.functions import Collate

from bridge.devices.models import Device, Pairing, QueuedCommand
from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

__all__ = [
    "BridgeToken", "Command", "Device", "Instance", "Pairing", "Publication", "QueuedCommand",
]  # fmt: skip

if TYPE_CHECKING:
    from accounts.actors import Actor

#: INSTANCE_TTL_SECONDS of the client: an instance that was silent for longer is gone.
INSTANCE_LIFETIME = timedelta(seconds=60)


def _instance_id() -> str:
    return new_id("inst")


class TokenQuerySet(models.QuerySet["BridgeToken"]):
    def alive(self, at: datetime) -> Self:
        """Those whose sign-in stands and whose person is active."""
        return self.filter(
            Q(session__expires_at=None) | Q(session__expires_at__gt=at),
            session__ended_at=None,
            user__is_active=True,
        )


class BridgeToken(models.Model):
    """What an editor's window connects with for as long as it is open (protocol/bridge.md §1). It
    ends with the sign-in that it was made for, and opens nothing else (R3)."""

    token_hash = models.CharField(unique=True, max_length=64)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    session = models.ForeignKey(
        "accounts.ClientSession", on_delete=models.CASCADE, related_name="+"
    )
    organization_id = models.CharField(max_length=40, blank=True)  # empty: the personal account
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()

    unscoped = TokenQuerySet.as_manager()

    class Meta:
        indexes = [Index(fields=["last_used_at"], name="bridge_token_used")]

    def __str__(self) -> str:
        return f"Token of {self.created_at:%Y-%m-%d %H:%M}"


class InstanceQuerySet(models.QuerySet["Instance"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(owner_id=actor.user_id)

    def of_organization(self, organization_id: str) -> Self:
        """Those that are signed in to it; who may see them is decided before (bridge.watching)."""
        return self.filter(organization_id=organization_id)

    def live(self, at: datetime) -> Self:
        """Heard of within the last minute, and not signed off."""
        return self.filter(ended_at=None, last_seen_at__gt=at - INSTANCE_LIFETIME)

    def locked(self) -> Self:
        """For a transaction that changes them. All take them in one order, that of Python's
        strings, or two processes to which everybody comes back at once would wait for each other.
        """
        collation = "C" if connection.vendor == "postgresql" else "BINARY"
        keys = (Collate(name, collation) for name in ("owner_id", "instance_id"))
        return self.order_by(*keys).select_for_update()


class Instance(models.Model):
    """A window of an editor, as it last described itself. ``instance_id`` is the editor's own, and
    unique for its owner alone (R1)."""

    id = models.CharField(primary_key=True, max_length=40, default=_instance_id, editable=False)
    owner = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    instance_id = models.CharField(max_length=128)
    organization_id = models.CharField(max_length=40, blank=True)  # of the token that it came with
    host = models.CharField(max_length=200, blank=True)
    workspace_path = models.CharField(max_length=4096, blank=True)
    task_id = models.CharField(max_length=128, blank=True)
    task_status = models.CharField(max_length=200, blank=True)
    snapshot = models.TextField()  # JSON of schemas.ExtensionInstance, images left out
    node = models.CharField(max_length=40, blank=True)  # the process that holds its socket …
    sid = models.CharField(max_length=40, blank=True)  # … and which one; empty: none now
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    unscoped = InstanceQuerySet.as_manager()
    objects = ScopedManager.from_queryset(InstanceQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["owner", "instance_id"], name="bridge_instance_once"),
        ]
        indexes = [
            Index(fields=["owner", "-last_seen_at"], name="bridge_instance_of_owner"),
            Index("last_seen_at", condition=Q(ended_at=None), name="bridge_instance_open"),
        ]

    def __str__(self) -> str:
        return f"{self.host or 'An editor'}: {self.workspace_path}"

    def is_live(self, at: datetime) -> bool:
        """As ``InstanceQuerySet.live`` says."""
        return self.ended_at is None and self.last_seen_at > at - INSTANCE_LIFETIME


class Publication(models.Model):
    """A task that an instance has joined and publishes."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="publications")
    task_id = models.CharField(max_length=128)
    joined_at = models.DateTimeField()

    unscoped = models.Manager["Publication"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["instance", "task_id"], name="bridge_publication_once"),
        ]
        indexes = [Index(fields=["task_id", "-joined_at"], name="bridge_publication_of_task")]

    def __str__(self) -> str:
        return self.task_id


class Watcher(models.Model):
    """Somebody who watches an instance of somebody else. The row is renewed for as long as they do,
    by the process that holds their socket."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="watchers")
    viewer = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    began_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    unscoped = models.Manager["Watcher"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["instance", "viewer"], name="bridge_watcher_once"),
        ]
        indexes = [Index(fields=["last_seen_at"], name="bridge_watcher_seen")]

    def __str__(self) -> str:
        return f"{self.viewer_id} since {self.began_at:%Y-%m-%d %H:%M}"


class CommandQuerySet(models.QuerySet["Command"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(sender_id=actor.user_id)

    def open(self) -> Self:
        """Sent, with nothing known of the effect."""
        return self.filter(state=Command.State.SENT)

    def queued(self) -> Self:
        """Waiting for an editor."""
        return self.filter(state=Command.State.QUEUED)


class Command(models.Model):
    """One command from the web to an editor, and what became of it (N7). It is written before it
    goes out and goes out once: an editor neither acknowledges nor knows a repetition (D2).

    The start of a task may wait for a window on the same host and folder (D1); nothing else does.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting for the editor"
        SENT = "sent", "Sent"
        CONFIRMED = "confirmed", "Confirmed"  # the editor reported its effect
        UNCONFIRMED = "unconfirmed", "Unconfirmed"  # it may or may not have been carried out
        FAILED = "failed", "Not sent"
        EXPIRED = "expired", "Expired while it waited"
        CANCELLED = "cancelled", "Cancelled while it waited"

    id = models.CharField(primary_key=True, max_length=40, editable=False)
    sender = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=128)  # the sender's own id of it, else the id
    organization_id = models.CharField(max_length=40, blank=True)
    instance_id = models.CharField(max_length=128, blank=True)  # empty: no editor was found
    kind = models.CharField(max_length=16)  # "start_task" … "deny_ask"
    task_id = models.CharField(max_length=128, blank=True)
    ask_ts = models.BigIntegerField(null=True, blank=True)  # the question that it answers
    text_hash = models.CharField(max_length=64, blank=True)  # SHA-256 of its text (R2)
    # SHA-256 of what was asked for; empty: of before such were kept
    fingerprint = models.CharField(max_length=64, blank=True, db_default="")
    source = models.ForeignKey(  # the paired device that gave it
        Device, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    device = models.CharField(max_length=200, blank=True)  # the User-Agent it came from, cut
    state = models.CharField(max_length=12, choices=State, default=State.SENT)
    reason = models.CharField(max_length=64, blank=True)  # why it was not sent
    given_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    # Of one that waits, or did:
    host = models.CharField(max_length=200, blank=True)
    workspace_path = models.CharField(max_length=4096, blank=True)
    payload = models.TextField(blank=True)  # JSON; emptied when it goes out or ends
    expires_at = models.DateTimeField(null=True, blank=True)

    unscoped = CommandQuerySet.as_manager()
    objects = ScopedManager.from_queryset(CommandQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["sender", "key"], name="bridge_command_once"),
            CheckConstraint(
                condition=Q(state__in=("queued", "sent")) ^ Q(settled_at__isnull=False),
                name="bridge_command_settled_at_its_end",
            ),
            CheckConstraint(
                condition=~Q(state="queued") | Q(sent_at=None, expires_at__isnull=False),
                name="bridge_command_waits_unsent_for_a_time",
            ),
        ]
        indexes = [
            Index("sent_at", condition=Q(state="sent"), name="bridge_command_open"),
            Index("expires_at", condition=Q(state="queued"), name="bridge_command_waiting"),
            Index(fields=["sender", "-given_at"], name="bridge_command_of_sender"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"
