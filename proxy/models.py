"""Upstream providers, the catalogue of models with their prices, and what was completed."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import CheckConstraint, Exists, OuterRef, Q, Subquery, UniqueConstraint
from msgspec import Struct

from orgs import policy
from proxy.model_settings import check_settings, check_versioned_settings
from proxy.pricing import Rates
from roocloud.lib import crypto, sealed
from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor

T = TypeVar("T", bound=Struct)


def _upstream_id() -> str:
    return new_id("up")


def new_completion_id() -> str:
    return new_id("chatcmpl")


def _names(values: object) -> None:
    """A validator: a list of names, as clients and upstreams can read them."""
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise ValidationError('Must be a list of names, such as ["temperature"].')


class Upstream(models.Model):
    """A server that completes for us. Host, path and key come from here alone (K2)."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI-compatible"
        ANTHROPIC = "anthropic", "Anthropic"
        BEDROCK = "bedrock", "Claude on Amazon Bedrock"
        VERTEX = "vertex", "Claude on Google Vertex"

    class OutputLimit(models.TextChoices):
        MAX_TOKENS = "max_tokens", "max_tokens"
        MAX_COMPLETION_TOKENS = "max_completion_tokens", "max_completion_tokens"

    id = models.CharField(primary_key=True, max_length=40, default=_upstream_id, editable=False)
    name = models.SlugField(unique=True, max_length=60)
    kind = models.CharField(
        max_length=20,
        choices=Kind,
        default=Kind.OPENAI,
        help_text="What it speaks. Anthropic: the Messages API, with prompt caching and thinking; "
        "the same at Amazon and at Google.",
    )
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
    output_limit = models.CharField(
        max_length=30,
        choices=OutputLimit,
        default=OutputLimit.MAX_TOKENS,
        help_text="The parameter by which this server limits an answer. OpenAI's reasoning models "
        "take max_completion_tokens alone.",
    )
    dropped_parameters = models.JSONField(
        default=list,
        blank=True,
        validators=[_names],
        help_text='Request parameters that this server refuses, such as ["temperature"].',
    )
    extra_parameters = models.JSONField(
        default=list,
        blank=True,
        validators=[_names],
        help_text="Request parameters beyond OpenAI's that this server may be sent.",
    )
    first_byte_timeout_s = models.PositiveIntegerField(
        default=300, help_text="Seconds until its answer begins."
    )
    idle_timeout_s = models.PositiveIntegerField(
        default=300, help_text="Seconds between two parts of its answer."
    )
    created_at = models.DateTimeField(editable=False)

    unscoped = models.Manager["Upstream"]()

    def __str__(self) -> str:
        return self.name

    @property
    def _key_context(self) -> str:
        return f"proxy.upstream.api_key:{self.pk}:{self.organization_id or ''}:{self.origin}"

    @property
    def origin(self) -> str:
        """Where the key may be sent: scheme, host and port."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def set_api_key(self, api_key: str) -> None:
        """Seal the key for this row, organization and host (I2, K2); the caller saves. Whoever
        changes one of them must give the key again."""
        self.sealed_api_key = crypto.seal(api_key, context=self._key_context)

    def renewed_api_key(self) -> str | None:
        """See roocloud.lib.sealed."""
        return sealed.renewed(self.sealed_api_key, context=self._key_context)

    def api_key(self) -> str:
        """The key in the clear. Raises crypto.CannotUnseal."""
        return crypto.unseal(self.sealed_api_key, context=self._key_context).decode()


class LanguageModelQuerySet(models.QuerySet["LanguageModel"]):
    def offered(self) -> Self:
        """Those that completions may use: visible, with a route to an enabled upstream."""
        return self._with_route()

    def public(self) -> Self:
        return self._with_route(Q(upstream__organization=None)).filter(organizations=None)

    def visible_to(self, actor: "Actor") -> Self:
        own = Q(upstream__organization_id=actor.organization_id)
        named = LanguageModel.organizations.through.objects.filter(languagemodel=OuterRef("pk"))
        return self._with_route(Q(upstream__organization=None) | own).filter(
            ~Exists(named) | Exists(named.filter(organization_id=actor.organization_id))
        )

    def _with_route(self, *conditions: Q) -> Self:
        routes = Route.unscoped.filter(
            *conditions, model=OuterRef("pk"), enabled=True, upstream__enabled=True
        )
        return self.filter(Exists(routes), visible=True)

    def priced(self, at: datetime) -> Self:
        """Those with a price at ``at``, whose id is annotated as ``price_id``."""
        newest = Price.unscoped.filter(model=OuterRef("pk"), valid_from__lte=at)
        found = Subquery(newest.order_by("-valid_from").values("pk")[:1])
        return self.annotate(price_id=found).exclude(price_id=None)


class LanguageModel(models.Model):
    """A model that clients may ask for, and where it is completed."""

    class Kind(models.TextChoices):
        LANGUAGE = "language", "Language"
        EMBEDDING = "embedding", "Embedding"
        IMAGE = "image", "Image"

    model_id = models.CharField(max_length=200, unique=True)  # "vendor/name"
    kind = models.CharField(
        max_length=10,
        choices=Kind,
        default=Kind.LANGUAGE,
        db_default=Kind.LANGUAGE,
        help_text="What it makes. Only language models are on the list that editors read.",
    )
    name = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    context_window = models.PositiveIntegerField(default=128_000)  # tokens
    max_tokens = models.PositiveIntegerField(default=8_192)  # of output
    tags = models.JSONField(
        default=list,
        blank=True,
        validators=[_names],
        help_text='What clients know it by: ["vision", "reasoning", "free"].',
    )
    default_temperature = models.FloatField(null=True, blank=True)
    settings = models.JSONField(
        default=dict,
        blank=True,
        validators=[check_settings],
        help_text="Laid over what clients know of the model, such as "
        '{"reasoningEffort": "medium", "excludedTools": ["apply_diff"]}.',
    )
    versioned_settings = models.JSONField(
        default=dict,
        blank=True,
        validators=[check_versioned_settings],
        help_text="Settings that replace those above for clients of at least a version, such as "
        '{"3.36.4": {"supportsReasoningEffort": ["low", "xhigh"]}}.',
    )
    organizations = models.ManyToManyField(
        "orgs.Organization",
        blank=True,
        related_name="+",
        help_text="Whose members alone may see and use it; empty for everybody.",
    )
    visible = models.BooleanField(default=True)
    deprecated = models.BooleanField(default=False)
    created_at = models.DateTimeField(editable=False)

    if TYPE_CHECKING:
        price_id: int  # annotated by LanguageModelQuerySet.priced

    unscoped = LanguageModelQuerySet.as_manager()
    objects = ScopedManager.from_queryset(LanguageModelQuerySet)()

    def __str__(self) -> str:
        return self.model_id


class Route(models.Model):
    """Where a model can be completed. The lowest priority that works is used; among equals the
    weights decide, and a task stays with the one that it began with."""

    model = models.ForeignKey(LanguageModel, on_delete=models.CASCADE, related_name="routes")
    upstream = models.ForeignKey(Upstream, on_delete=models.PROTECT, related_name="routes")
    upstream_model = models.CharField(max_length=200)  # what the upstream calls it
    priority = models.PositiveSmallIntegerField(default=0)
    weight = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    enabled = models.BooleanField(default=True)

    unscoped = models.Manager["Route"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["model", "upstream"], name="proxy_route_once_per_upstream"),
        ]

    def __str__(self) -> str:
        return f"{self.upstream_model} at {self.upstream_id}"


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
    image_nanos = models.BigIntegerField(
        null=True, blank=True, help_text="Of one image, where tokens do not say what it costs."
    )
    long_above_tokens = models.PositiveIntegerField(
        "long prompts are above",
        null=True,
        blank=True,
        help_text="Tokens of the whole input, cached ones included. A request with more of them "
        "has the prices below for all of its tokens. Empty: one price for every length.",
    )
    long_input_nanos_per_mtok = models.BigIntegerField(null=True, blank=True)
    long_output_nanos_per_mtok = models.BigIntegerField(null=True, blank=True)
    long_cache_read_nanos_per_mtok = models.BigIntegerField(null=True, blank=True)  # None: as input
    long_cache_write_nanos_per_mtok = models.BigIntegerField(null=True, blank=True)  # the same

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
            CheckConstraint(
                condition=Q(image_nanos=None) | Q(image_nanos__gte=0),
                name="proxy_price_of_images_not_negative",
            ),
            CheckConstraint(
                condition=Q(
                    long_above_tokens=None,
                    long_input_nanos_per_mtok=None,
                    long_output_nanos_per_mtok=None,
                    long_cache_read_nanos_per_mtok=None,
                    long_cache_write_nanos_per_mtok=None,
                )
                | Q(
                    long_above_tokens__gt=0,
                    long_input_nanos_per_mtok__gte=0,
                    long_output_nanos_per_mtok__gte=0,
                    long_input_nanos_per_mtok__isnull=False,
                    long_output_nanos_per_mtok__isnull=False,
                )
                & (
                    Q(long_cache_read_nanos_per_mtok=None)
                    | Q(long_cache_read_nanos_per_mtok__gte=0)
                )
                & (
                    Q(long_cache_write_nanos_per_mtok=None)
                    | Q(long_cache_write_nanos_per_mtok__gte=0)
                ),
                name="proxy_price_of_long_prompts_whole",
                violation_error_message="Long prompts need a number of tokens, a price of input "
                "and one of output, or nothing at all.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_id} from {self.valid_from:%Y-%m-%d %H:%M}"

    def given(self) -> tuple[int | None, ...]:
        """What it says of tokens, class by class."""
        return (
            self.input_nanos_per_mtok,
            self.output_nanos_per_mtok,
            self.cache_read_nanos_per_mtok,
            self.cache_write_nanos_per_mtok,
        )

    def given_for_long(self) -> tuple[int | None, ...]:
        """What it says of tokens of long prompts, class by class."""
        return (
            self.long_input_nanos_per_mtok,
            self.long_output_nanos_per_mtok,
            self.long_cache_read_nanos_per_mtok,
            self.long_cache_write_nanos_per_mtok,
        )

    def rates(self) -> Rates:
        rates = _rates(self.given(), image=self.image_nanos or 0)
        if self.long_above_tokens is None:
            return rates
        beyond = _rates(self.given_for_long(), image=rates.image)
        return replace(rates, above=self.long_above_tokens, beyond=beyond)


def _rates(given: tuple[int | None, ...], *, image: int) -> Rates:
    """Cache classes without a price of their own cost what input costs."""
    base, output, read, write = given
    base = base or 0
    return Rates(
        input=base,
        output=output or 0,
        cache_read=base if read is None else read,
        cache_write=base if write is None else write,
        image=image,
    )


def _of_actor(actor: "Actor") -> Q:
    """The actor's own in their context; for admins of an organization everybody's in it."""
    in_context = Q(organization_id=actor.organization_id or "")
    return in_context if policy.is_admin(actor) else in_context & Q(user_id=actor.user_id)


class CompletionQuerySet(models.QuerySet["Completion"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(_of_actor(actor))

    def running(self) -> Self:
        return self.filter(status=Completion.Status.RUNNING)

    def ended(self) -> Self:
        return self.exclude(status=Completion.Status.RUNNING)


class Completion(models.Model):
    """One request that was admitted: what it used, what it cost, how it ended. It is written when
    its progress is first saved, or at its end; money is the ledger's, tokens are here."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CUT = "cut", "Cut by the client"
        FAILED = "failed", "Failed"
        ORPHANED = "orphaned", "Orphaned"

    id = models.CharField(
        primary_key=True, max_length=40, default=new_completion_id, editable=False
    )
    user_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40, blank=True)
    task_id = models.CharField(max_length=64, blank=True)  # the client's, from X-Roo-Task-ID
    api_key_id = models.CharField(max_length=40, blank=True, db_default="")  # if made with one
    model_id = models.CharField(max_length=200)
    upstream_name = models.CharField(max_length=60)
    price = models.ForeignKey(Price, null=True, on_delete=models.PROTECT, related_name="+")
    hold = models.ForeignKey(
        "credits.Hold", null=True, on_delete=models.PROTECT, related_name="completions"
    )
    held_nanos = models.BigIntegerField(default=0)  # the most that it could have cost
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    is_stream = models.BooleanField()
    prompt_tokens = models.BigIntegerField(default=0)  # cached ones included
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    images = models.PositiveSmallIntegerField(default=0, db_default=0)  # charged by the piece
    is_estimated = models.BooleanField(default=False)  # the upstream reported no usage
    cost_nanos = models.BigIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    attempts = models.JSONField(default=list)  # [{"upstream", "error"}] that came before the answer
    first_byte_ms = models.PositiveIntegerField(null=True)  # after started_at
    started_at = models.DateTimeField()
    saved_at = models.DateTimeField()  # while it runs, a sign of life every other second (C4)
    ended_at = models.DateTimeField(null=True, blank=True)

    unscoped = CompletionQuerySet.as_manager()
    objects = ScopedManager.from_queryset(CompletionQuerySet)()

    class Meta:
        indexes = [
            models.Index(fields=["-started_at", "id"], name="proxy_completion_recent"),
            models.Index(
                fields=["saved_at"], condition=Q(status="running"), name="proxy_completion_running"
            ),
            # The log, for each of its filters: newest first, and on from any row.
            models.Index(
                fields=["organization_id", "-started_at", "-id"], name="proxy_completion_of_org"
            ),
            models.Index(
                fields=["user_id", "organization_id", "-started_at", "-id"],
                name="proxy_completion_of_user",
            ),
            models.Index(
                fields=["organization_id", "model_id", "-started_at", "-id"],
                name="proxy_completion_of_model",
            ),
            models.Index(
                fields=["organization_id", "-started_at", "-id"],
                condition=Q(status="failed"),
                name="proxy_completion_failed",
            ),
            models.Index(
                fields=["api_key_id", "-started_at", "-id"],
                condition=~Q(api_key_id=""),
                name="proxy_completion_of_key",
            ),
            models.Index(fields=["task_id", "user_id"], name="proxy_completion_of_task"),
            models.Index(fields=["upstream_name", "-started_at"], name="proxy_completion_of_up"),
        ]

    def __str__(self) -> str:
        return self.pk

    @property
    def duration_ms(self) -> int | None:
        """From the request to the last byte; None while it runs."""
        if self.ended_at is None:
            return None
        return int((self.ended_at - self.started_at).total_seconds() * 1000)


class IdempotencyKey(models.Model):
    """A key by which a caller names a request, and its answer, for a repetition (see
    proxy.idempotency). Short-lived, and read by its own caller alone."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        RELEASED = "released", "Released"  # it was refused for nothing, or cut by this server

    id = models.CharField(primary_key=True, max_length=64, editable=False)  # of caller and key
    user_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40, blank=True)
    fingerprint = models.CharField(max_length=64)  # of what was asked
    completion_id = models.CharField(max_length=40)  # the one that has or had the key
    state = models.CharField(max_length=10, choices=State)
    sealed_answer = models.TextField(blank=True, editable=False)  # see seal
    seen_at = models.DateTimeField()  # while it runs, a sign of life; then when it ended

    unscoped = models.Manager["IdempotencyKey"]()

    class Meta:
        indexes = [models.Index(fields=["seen_at"], name="proxy_idempotency_old")]

    def __str__(self) -> str:
        return self.completion_id

    @property
    def _context(self) -> str:
        return f"proxy.idempotencykey.sealed_answer:{self.pk}:{self.completion_id}"

    def seal(self, answer: Struct) -> str:
        """An answer as this row stores it: it holds what was said (I2)."""
        return sealed.packed(answer, context=self._context)

    def renewed_answer(self) -> str | None:
        """See roocloud.lib.sealed."""
        if not self.sealed_answer:
            return None
        return sealed.renewed(self.sealed_answer, context=self._context)

    def answer(self, kind: type[T]) -> T | None:
        """None, if none is kept. Raises crypto.CannotUnseal."""
        if not self.sealed_answer:
            return None
        return sealed.unpacked(self.sealed_answer, kind, context=self._context)


class TranscriptKeeping(models.Model):
    """An organization that has its members' prompts and answers stored, and for how long; where
    there is no row, nothing is. Written by proxy.keeping alone."""

    organization = models.OneToOneField(
        "orgs.Organization", primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    days = models.PositiveSmallIntegerField()
    changed_by_id = models.CharField(max_length=40)
    changed_at = models.DateTimeField()

    unscoped = models.Manager["TranscriptKeeping"]()

    class Meta:
        verbose_name_plural = "transcript keeping"
        constraints = [
            CheckConstraint(
                condition=Q(days__gte=1, days__lte=365), name="proxy_keeping_a_day_to_a_year"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization_id}: {self.days} days"


class TranscriptQuerySet(models.QuerySet["Transcript"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(_of_actor(actor))


class Transcript(models.Model):
    """What was asked and answered in a completion of an organization that wants it stored (see
    proxy.keeping). In no list, log or admin, and in no export but the person's own."""

    completion_id = models.CharField(primary_key=True, max_length=40, editable=False)
    organization = models.ForeignKey(
        "orgs.Organization", on_delete=models.CASCADE, related_name="+"
    )
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    started_at = models.DateTimeField()  # of the completion
    sealed_request = models.TextField(editable=False)
    sealed_answer = models.TextField(editable=False)

    unscoped = TranscriptQuerySet.as_manager()
    objects = ScopedManager.from_queryset(TranscriptQuerySet)()

    class Meta:
        indexes = [models.Index(fields=["organization", "started_at"], name="proxy_transcript_old")]

    def __str__(self) -> str:
        return self.completion_id

    def _context(self, column: str) -> str:
        place = f"{self.completion_id}:{self.organization_id}:{self.user_id}"
        return f"proxy.transcript.{column}:{place}"

    def seal_request(self, request: Struct) -> None:
        self.sealed_request = sealed.packed(request, context=self._context("sealed_request"))

    def seal_answer(self, answer: Struct) -> None:
        self.sealed_answer = sealed.packed(answer, context=self._context("sealed_answer"))

    def request(self, kind: type[T]) -> T:
        """Raises crypto.CannotUnseal."""
        context = self._context("sealed_request")
        return sealed.unpacked(self.sealed_request, kind, context=context)

    def answer(self, kind: type[T]) -> T:
        """Raises crypto.CannotUnseal."""
        return sealed.unpacked(self.sealed_answer, kind, context=self._context("sealed_answer"))

    def renewed_request(self) -> str | None:
        """See roocloud.lib.sealed."""
        return sealed.renewed(self.sealed_request, context=self._context("sealed_request"))

    def renewed_answer(self) -> str | None:
        """See roocloud.lib.sealed."""
        return sealed.renewed(self.sealed_answer, context=self._context("sealed_answer"))


class UsageDayQuerySet(models.QuerySet["UsageDay"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(_of_actor(actor))


class UsageDay(models.Model):
    """What somebody used of a model at an upstream on one day (UTC, by when completions started):
    the sum of the completions that have ended, kept by their settlement (see proxy.usage_days)."""

    day = models.DateField()
    organization_id = models.CharField(max_length=40, blank=True)
    user_id = models.CharField(max_length=40)
    model_id = models.CharField(max_length=200)
    upstream_name = models.CharField(max_length=60)
    completions = models.BigIntegerField()
    failed = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()  # cached ones included
    cache_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    cost_nanos = models.BigIntegerField()

    unscoped = UsageDayQuerySet.as_manager()
    objects = ScopedManager.from_queryset(UsageDayQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["organization_id", "day", "user_id", "model_id", "upstream_name"],
                name="proxy_usage_day_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["user_id", "organization_id", "day"], name="proxy_usage_day_of_user"
            ),
            models.Index(fields=["day"], name="proxy_usage_day_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model_id}"


class UsageTaskQuerySet(models.QuerySet["UsageTask"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(_of_actor(actor))


class UsageTask(models.Model):
    """The same for each task of somebody's; ``task_id`` is empty for what belongs to none."""

    day = models.DateField()
    organization_id = models.CharField(max_length=40, blank=True)
    user_id = models.CharField(max_length=40)
    task_id = models.CharField(max_length=64, blank=True)
    model_id = models.CharField(max_length=200)
    upstream_name = models.CharField(max_length=60)
    completions = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()  # cached ones included
    completion_tokens = models.BigIntegerField()
    cost_nanos = models.BigIntegerField()

    unscoped = UsageTaskQuerySet.as_manager()
    objects = ScopedManager.from_queryset(UsageTaskQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=[
                    "organization_id", "day", "user_id", "task_id", "model_id", "upstream_name",
                ],
                name="proxy_usage_task_once",
            )
        ]  # fmt: skip
        indexes = [
            models.Index(
                fields=["user_id", "organization_id", "day"], name="proxy_usage_task_of_user"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.task_id}"
