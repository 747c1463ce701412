"""Upstream providers, the catalogue of models with their prices, and what was completed."""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import CheckConstraint, OuterRef, Q, Subquery, UniqueConstraint

from roocloud.lib import crypto
from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _upstream_id() -> str:
    return new_id("up")


def _completion_id() -> str:
    return new_id("chatcmpl")


class Upstream(models.Model):
    """A server that completes for us. Host, path and key come from here alone (K2)."""

    id = models.CharField(primary_key=True, max_length=40, default=_upstream_id, editable=False)
    name = models.SlugField(unique=True, max_length=60)
    base_url = models.CharField(max_length=300)  # without a trailing slash: "https://host/v1"
    sealed_api_key = models.TextField(editable=False)  # see set_api_key
    organization = models.ForeignKey(
        "orgs.Organization",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Whose members alone may use it; empty for everybody.",
    )
    enabled = models.BooleanField(default=True)
    dropped_parameters = models.JSONField(
        default=list,
        blank=True,
        help_text='Request parameters that this server refuses, such as ["temperature"].',
    )
    created_at = models.DateTimeField(editable=False)

    unscoped = models.Manager["Upstream"]()

    def __str__(self) -> str:
        return self.name

    @property
    def _key_context(self) -> str:
        return f"proxy.upstream.api_key:{self.pk}:{self.organization_id or ''}"

    def set_api_key(self, api_key: str) -> None:
        """Seal the key for this row and organization (I2); the caller saves."""
        self.sealed_api_key = crypto.seal(api_key, context=self._key_context)

    def api_key(self) -> str:
        """The key in the clear. Raises crypto.CannotUnseal."""
        return crypto.unseal(self.sealed_api_key, context=self._key_context).decode()


class LanguageModelQuerySet(models.QuerySet["LanguageModel"]):
    def offered(self) -> Self:
        """Those that completions may use: visible, on an enabled upstream."""
        return self.filter(visible=True, upstream__enabled=True)

    def public(self) -> Self:
        return self.offered().filter(upstream__organization=None)

    def visible_to(self, actor: "Actor") -> Self:
        return self.offered().filter(
            Q(upstream__organization=None) | Q(upstream__organization_id=actor.organization_id)
        )

    def priced(self, at: datetime) -> Self:
        """Those with a price at ``at``, whose id is annotated as ``price_id``."""
        newest = Price.unscoped.filter(model=OuterRef("pk"), valid_from__lte=at)
        found = Subquery(newest.order_by("-valid_from").values("pk")[:1])
        return self.annotate(price_id=found).exclude(price_id=None)


class LanguageModel(models.Model):
    """A model that clients may ask for, and where it is completed."""

    model_id = models.CharField(max_length=200, unique=True)  # "vendor/name"
    name = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    upstream = models.ForeignKey(Upstream, on_delete=models.PROTECT, related_name="models")
    upstream_model = models.CharField(max_length=200)  # what the upstream calls it
    context_window = models.PositiveIntegerField(default=128_000)  # tokens
    max_tokens = models.PositiveIntegerField(default=8_192)  # of output
    tags = models.JSONField(default=list, blank=True)  # vision, reasoning, free …
    default_temperature = models.FloatField(null=True, blank=True)
    visible = models.BooleanField(default=True)
    deprecated = models.BooleanField(default=False)
    created_at = models.DateTimeField(editable=False)

    if TYPE_CHECKING:
        price_id: int  # annotated by LanguageModelQuerySet.priced

    unscoped = LanguageModelQuerySet.as_manager()
    objects = ScopedManager.from_queryset(LanguageModelQuerySet)()

    def __str__(self) -> str:
        return self.model_id


class Alias(models.Model):
    """Another id for a model: clients ask for some by default, without looking at the list (trap
    34)."""

    alias = models.CharField(max_length=200, unique=True)
    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="aliases")

    unscoped = models.Manager["Alias"]()

    class Meta:
        verbose_name_plural = "aliases"

    def __str__(self) -> str:
        return self.alias


class Price(models.Model):
    """What a model costs from an instant on, in nano-dollars per million tokens. A completion is
    priced with the price of its time, so rows are added and not edited."""

    model = models.ForeignKey(LanguageModel, on_delete=models.PROTECT, related_name="prices")
    valid_from = models.DateTimeField()
    input_nanos_per_mtok = models.BigIntegerField()
    output_nanos_per_mtok = models.BigIntegerField()
    cache_read_nanos_per_mtok = models.BigIntegerField(null=True, blank=True)  # None: as input
    cache_write_nanos_per_mtok = models.BigIntegerField(null=True, blank=True)  # None: as input

    unscoped = models.Manager["Price"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["model", "valid_from"], name="proxy_price_once_per_instant"),
            CheckConstraint(
                condition=Q(input_nanos_per_mtok__gte=0, output_nanos_per_mtok__gte=0)
                & (Q(cache_read_nanos_per_mtok=None) | Q(cache_read_nanos_per_mtok__gte=0))
                & (Q(cache_write_nanos_per_mtok=None) | Q(cache_write_nanos_per_mtok__gte=0)),
                name="proxy_price_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} from {self.valid_from:%Y-%m-%d %H:%M}"


class CompletionQuerySet(models.QuerySet["Completion"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(user_id=actor.user_id, organization_id=actor.organization_id or "")


class Completion(models.Model):
    """One request that was admitted: what it used, what it cost, how it ended. Its hold carries the
    same key; money is the ledger's, tokens are here."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CUT = "cut", "Cut by the client"
        FAILED = "failed", "Failed"
        ORPHANED = "orphaned", "Orphaned"

    id = models.CharField(primary_key=True, max_length=40, default=_completion_id, editable=False)
    user_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40, blank=True)
    task_id = models.CharField(max_length=64, blank=True)  # the client's, from X-Roo-Task-ID
    model_id = models.CharField(max_length=200)
    upstream_name = models.CharField(max_length=60)
    price = models.ForeignKey(Price, null=True, on_delete=models.PROTECT, related_name="+")
    hold = models.OneToOneField(
        "credits.Hold", null=True, on_delete=models.PROTECT, related_name="completion"
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    is_stream = models.BooleanField()
    prompt_tokens = models.BigIntegerField(default=0)  # cached ones included
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    is_estimated = models.BooleanField(default=False)  # the upstream reported no usage
    cost_nanos = models.BigIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    unscoped = CompletionQuerySet.as_manager()
    objects = ScopedManager.from_queryset(CompletionQuerySet)()

    class Meta:
        indexes = [
            models.Index(fields=["-started_at", "id"], name="proxy_completion_recent"),
            models.Index(fields=["user_id", "task_id"], name="proxy_completion_of_task"),
            models.Index(fields=["organization_id", "-started_at"], name="proxy_completion_of_org"),
        ]

    def __str__(self) -> str:
        return self.pk
