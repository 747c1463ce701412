"""What people are told outside of any page, by which way, and what became of it."""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from notifications.kinds import Channel, Kind
from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _subscription_id() -> str:
    return new_id("push")


class PushKey(models.Model):
    """One row: the key by which push services know this deployment (VAPID, RFC 8292). Every
    subscription is bound to it, so it is never exchanged."""

    sealed_private_key = models.TextField()  # PEM of a P-256 key, see notifications.push
    public_key = models.CharField(max_length=100)  # the point, base64url, as browsers take it
    created_at = models.DateTimeField()

    unscoped = models.Manager["PushKey"]()

    class Meta:
        constraints = [CheckConstraint(condition=Q(pk=1), name="notifications_one_push_key")]

    def __str__(self) -> str:
        return self.public_key


class Preferences(models.Model):
    """A person's wishes. Who has no row never said anything: see notifications.preferences."""

    user = models.OneToOneField(
        "accounts.User", primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    time_zone = models.CharField(max_length=64, default="UTC")  # of the tz database
    quiet_from = models.TimeField(null=True, blank=True)  # both or neither; may span midnight
    quiet_until = models.TimeField(null=True, blank=True)
    updated_at = models.DateTimeField()

    unscoped = models.Manager["Preferences"]()

    class Meta:
        verbose_name_plural = "preferences"
        constraints = [
            CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="notifications_quiet_hours_begin_and_end",
            )
        ]

    def __str__(self) -> str:
        return f"Preferences of {self.user_id}"


class Choice(models.Model):
    """A kind that a person wants by a channel."""

    preferences = models.ForeignKey(Preferences, on_delete=models.CASCADE, related_name="choices")
    kind = models.CharField(max_length=12, choices=Kind)
    channel = models.CharField(max_length=4, choices=Channel)

    unscoped = models.Manager["Choice"]()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["preferences", "kind", "channel"], name="notifications_choice_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel}"


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(user_id=actor.user_id)


class Subscription(models.Model):
    """A browser that takes notifications while its person is signed in there."""

    id = models.CharField(primary_key=True, max_length=40, default=_subscription_id, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    session = models.ForeignKey(  # None: it ended, and the next one there takes its place
        "usersessions.UserSession", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    endpoint = models.TextField()  # given by the browser, thus hostile (K1)
    endpoint_hash = models.CharField(unique=True, max_length=64)
    p256dh = models.CharField(max_length=100)  # the browser's public key, base64url
    auth = models.CharField(max_length=40)  # what it shares with who may write to it, base64url
    label = models.CharField(max_length=100)  # "Firefox on Android"
    created_at = models.DateTimeField()
    reached_at = models.DateTimeField(null=True, blank=True)  # its push service took one, last

    unscoped = SubscriptionQuerySet.as_manager()
    objects = ScopedManager.from_queryset(SubscriptionQuerySet)()

    class Meta:
        indexes = [Index(fields=["user", "-created_at"], name="notifications_sub_of_user")]

    def __str__(self) -> str:
        return self.label


class NoticeQuerySet(models.QuerySet["Notice"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(user_id=actor.user_id)


class Notice(models.Model):
    """One thing that a person was to be told. ``key`` is what it is about: the same question, or
    the same budget, is told once."""

    class Silence(models.TextChoices):
        """Why nothing was sent."""

        NONE = "", "Sent"
        OFF = "off", "Switched off in your settings"
        QUIET = "quiet", "Your quiet hours"
        SEEN = "seen", "You were looking at it"

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12, choices=Kind)
    key = models.CharField(max_length=300)
    topic = models.CharField(max_length=300)  # a later one of the same topic takes its place
    title = models.CharField(max_length=100)
    text = models.CharField(max_length=300)
    path = models.CharField(max_length=2000)  # of the page that it leads to
    silence = models.CharField(max_length=5, choices=Silence, blank=True)
    made_at = models.DateTimeField()

    unscoped = NoticeQuerySet.as_manager()
    objects = ScopedManager.from_queryset(NoticeQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["user", "key"], name="notifications_notice_once"),
        ]
        indexes = [
            Index(fields=["user", "-made_at"], name="notifications_notice_of_user"),
            Index(fields=["made_at"], name="notifications_notice_age"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.title}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self, at: datetime) -> Self:
        return self.filter(state=Delivery.State.WAITING, due_at__lte=at)

    def unfinished(self) -> Self:
        return self.filter(state__in=(Delivery.State.WAITING, Delivery.State.SENDING))


class Delivery(models.Model):
    """A notice on its way to one browser or one mailbox. It is claimed before it is sent, and what
    was claimed is never sent again: at most once."""

    class State(models.TextChoices):
        WAITING = "waiting", "On its way"
        SENDING = "sending", "Being sent"
        SENT = "sent", "Delivered"  # to the push service, or the mail server
        FAILED = "failed", "Failed"
        UNKNOWN = "unknown", "Perhaps delivered"  # it was cut while it was sent

    #: The reason of a mail that takes the place of a notification.
    NO_BROWSER = "No browser could be reached"

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=4, choices=Channel)
    subscription = models.ForeignKey(
        Subscription, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    label = models.CharField(max_length=254)  # of the browser, or the address
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    reason = models.CharField(max_length=100, blank=True)  # of a failure, or why it is by mail
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    unscoped = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            UniqueConstraint(
                fields=["notice", "subscription"],
                condition=Q(channel="push"),
                name="notifications_push_once",
            ),
            UniqueConstraint(
                fields=["notice"], condition=Q(channel="mail"), name="notifications_mail_once"
            ),
            CheckConstraint(
                condition=Q(state__in=("waiting", "sending")) ^ Q(settled_at__isnull=False),
                name="notifications_settled_at_its_end",
            ),
        ]
        indexes = [
            Index(
                "due_at",
                condition=Q(state__in=("waiting", "sending")),
                name="notifications_delivery_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()}: {self.get_state_display()}"
