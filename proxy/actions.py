"""Every write to upstreams, the catalogue and completions."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from accounts.actors import Actor
from audit import actions as audit
from credits import actions as credit
from orgs import policy
from orgs import queries as orgs
from proxy import demo
from proxy.calls import Call
from proxy.models import Alias, Completion, LanguageModel, Price, Upstream
from proxy.pricing import FREE, Rates, Usage, cost_nanos, worst_case_nanos
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.refusals import Forbidden, InvalidInput, NotFound
from roocloud.lib.text import clean_label, storable

ENVIRONMENT_UPSTREAM = "environment"
#: The provider name under which clients know this server's models (allowList.providers).
PROVIDER = "roo"


class ModelNotFound(NotFound):
    code = "model_not_found"


class ModelNotAllowed(Forbidden):
    code = "model_not_allowed"


# --- Upstreams and the catalogue --------------------------------------------------------------


def put_upstream(
    *, name: str, base_url: str, api_key: str, by: Actor | None, at: datetime
) -> Upstream:
    """Make an upstream, or give the one of that name a new address and key.

    Raises InvalidInput (``name``, ``base_url``, ``api_key``).
    """
    if not name or slugify(name) != name.lower():
        raise InvalidInput("may hold letters, digits and dashes", field="name")
    base_url = checked_base_url(base_url)
    if not api_key or not api_key.isascii() or any(c.isspace() for c in api_key):
        raise InvalidInput("must be a key without spaces", field="api_key")
    with transaction.atomic():
        upstream, _ = Upstream.unscoped.get_or_create(name=name, defaults={"created_at": at})
        before = upstream.base_url
        if upstream.enabled and before == base_url and _has_key(upstream, api_key):
            return upstream
        upstream.base_url = base_url
        upstream.enabled = True
        upstream.set_api_key(api_key)
        upstream.save()
        audit.record(
            action="upstream.saved",
            actor=by,
            target_kind="upstream",
            target_id=upstream.pk,
            before={"base_url": before} if before else None,
            after={"base_url": base_url},
            at=at,
        )
    return upstream


def _has_key(upstream: Upstream, api_key: str) -> bool:
    try:
        return upstream.api_key() == api_key
    except CannotUnseal:
        return False


def checked_base_url(base_url: str) -> str:
    """Without a trailing slash. Raises InvalidInput (``base_url``)."""
    try:
        parts = urlsplit(base_url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.username or parts.query or parts.fragment:
        raise InvalidInput("must be a URL such as https://api.example.com/v1", field="base_url")
    return base_url.rstrip("/")


def sync_environment_upstream(*, at: datetime) -> Upstream | None:
    """Make the stored upstream equal to ROOCLOUD_UPSTREAM_BASE_URL and _API_KEY; disable it when
    they are gone. Run at each start."""
    if not settings.ROOCLOUD_UPSTREAM_BASE_URL:
        Upstream.unscoped.filter(name=ENVIRONMENT_UPSTREAM).update(enabled=False)
        return None
    return put_upstream(
        name=ENVIRONMENT_UPSTREAM,
        base_url=settings.ROOCLOUD_UPSTREAM_BASE_URL,
        api_key=settings.ROOCLOUD_UPSTREAM_API_KEY or "none",
        by=None,
        at=at,
    )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model beside its price. None leaves what is stored."""

    name: str | None = None
    description: str | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    tags: list[str] | None = None


def put_model(
    *,
    model_id: str,
    upstream: Upstream,
    upstream_model: str,
    rates: Rates | None,
    facts: ModelFacts,
    by: Actor | None,
    at: datetime,
) -> LanguageModel:
    """Make a model, or change the one of that id. A changed price is a new one from ``at`` on.

    rates: None leaves the price. Raises InvalidInput naming the field.
    """
    if not 0 < len(model_id) <= 200 or not model_id.isascii() or not model_id.isprintable():
        raise InvalidInput("must be an id such as vendor/name", field="model_id")
    for field in ("context_window", "max_tokens"):
        value = getattr(facts, field)
        if value is not None and not 1 <= value <= 10**8:
            raise InvalidInput("must be a number of tokens above zero", field=field)
    with transaction.atomic():
        model = LanguageModel.unscoped.filter(model_id=model_id).first() or LanguageModel(
            model_id=model_id, name=model_id, created_at=at
        )
        model.upstream = upstream
        model.upstream_model = upstream_model
        for field in ("name", "description", "context_window", "max_tokens", "tags"):
            if (value := getattr(facts, field)) is not None:
                setattr(model, field, value)
        model.visible = True
        model.save()
        if rates is not None and rates != current_rates(model, at=at):
            _add_price(model, rates, at=at)
        audit.record(
            action="model.saved",
            actor=by,
            target_kind="model",
            target_id=model_id,
            after={"upstream": upstream.name, "upstream_model": upstream_model},
            at=at,
        )
    return model


def put_alias(*, alias: str, model: LanguageModel) -> Alias:
    """Let ``alias`` mean ``model``."""
    found, _ = Alias.unscoped.update_or_create(alias=alias, defaults={"model": model})
    return found


def _add_price(model: LanguageModel, rates: Rates, *, at: datetime) -> None:
    Price.unscoped.create(
        model=model,
        valid_from=at,
        input_nanos_per_mtok=rates.input,
        output_nanos_per_mtok=rates.output,
        cache_read_nanos_per_mtok=rates.cache_read,
        cache_write_nanos_per_mtok=rates.cache_write,
    )


def rates_of(price: Price) -> Rates:
    """Cache classes without a price of their own cost what input costs."""
    given = price.input_nanos_per_mtok
    read, write = price.cache_read_nanos_per_mtok, price.cache_write_nanos_per_mtok
    return Rates(
        input=given,
        output=price.output_nanos_per_mtok,
        cache_read=given if read is None else read,
        cache_write=given if write is None else write,
    )


def current_rates(model: LanguageModel, *, at: datetime) -> Rates | None:
    """The price in force, or None for a model without one."""
    price = model.prices.filter(valid_from__lte=at).order_by("-valid_from").first()
    return rates_of(price) if price else None


# --- Completions ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Route:
    """Where a call goes. url and key come from stored configuration alone (K2)."""

    upstream_name: str
    url: str
    api_key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may run: its hold is placed. route is None for the demo model."""

    completion_id: str
    hold_id: int
    call: Call
    route: Route | None
    rates: Rates
    prompt_tokens: int  # an estimate, for an upstream that reports no usage
    held_nanos: int

    def cost_nanos(self, usage: Usage) -> int:
        """What usage costs this call: never more than was held for it."""
        return min(cost_nanos(usage, self.rates), self.held_nanos)


def admit(*, actor: Actor, call: Call, task_id: str, at: datetime) -> Admitted:
    """Decide whether a call may run, and set aside what it may cost, before any upstream byte (C3).

    Raises Forbidden, ModelNotFound, ModelNotAllowed, InsufficientCredit.
    """
    if not policy.may_spend(actor):
        raise Forbidden("Your role in this organization may not use models")
    if not orgs.organization_settings(actor).allow_list.allows(PROVIDER, call.model):
        raise ModelNotAllowed(f"Your organization does not allow the model {call.model[:100]}")
    model = _find_model(actor, call.model, at=at)
    if model is None and not (call.model == demo.MODEL_ID and demo.is_offered()):
        raise ModelNotFound(f"This server offers no model {call.model[:100]}", field="model")
    price = Price.unscoped.get(pk=model.price_id) if model else None
    rates = rates_of(price) if price else FREE
    window, output = (
        (model.context_window, model.max_tokens)
        if model
        else (demo.CONTEXT_WINDOW, demo.MAX_TOKENS)
    )
    worst = worst_case_nanos(
        prompt_tokens=call.prompt_tokens_bound(window),
        completion_tokens=(call.max_tokens or output) * call.choices,
        rates=rates,
    )
    completion = Completion(
        user_id=actor.user_id,
        organization_id=actor.organization_id or "",
        task_id=clean_label(task_id, 64),
        model_id=model.model_id if model else demo.MODEL_ID,
        upstream_name=model.upstream.name if model else demo.UPSTREAM_NAME,
        price=price,
        is_stream=call.is_stream,
        started_at=at,
    )
    route = _route(model, call) if model else None
    with transaction.atomic():
        account = credit.account_of(
            user_id=actor.user_id, organization_id=actor.organization_id, at=at
        )
        hold = credit.place_hold(
            account_id=account.pk, key=completion.pk, amount_nanos=worst, at=at
        )
        completion.hold_id = hold.pk
        completion.save(force_insert=True)
    return Admitted(
        completion_id=completion.pk,
        hold_id=hold.pk,
        call=call,
        route=route,
        rates=rates,
        prompt_tokens=call.prompt_tokens_estimate(window),
        held_nanos=worst,
    )


def _find_model(actor: Actor, model_id: str, *, at: datetime) -> LanguageModel | None:
    model_id = storable(model_id)
    offered = LanguageModel.objects.visible_to(actor).priced(at).select_related("upstream")
    found: LanguageModel | None = offered.filter(model_id=model_id).first()
    return found or offered.filter(aliases__alias=model_id).first()


def _route(model: LanguageModel, call: Call) -> Route:
    upstream = model.upstream
    return Route(
        upstream_name=upstream.name,
        url=f"{upstream.base_url}/chat/completions",
        api_key=upstream.api_key(),
        body=call.body_for(model.upstream_model, upstream.dropped_parameters),
    )


def settle(
    *,
    admitted: Admitted,
    usage: Usage,
    is_estimated: bool,
    status: str,
    error: str,
    at: datetime,
) -> int:
    """Write down what a call used and charge it, once. Returns the cost in nano-dollars."""
    cost = admitted.cost_nanos(usage)
    with transaction.atomic():
        won = credit.settle_hold(hold_id=admitted.hold_id, cost_nanos=cost, at=at)
        if won:
            Completion.unscoped.filter(pk=admitted.completion_id).update(
                status=status,
                prompt_tokens=usage.prompt,
                completion_tokens=usage.completion,
                cache_read_tokens=usage.cache_read,
                cache_write_tokens=usage.cache_write,
                is_estimated=is_estimated,
                cost_nanos=cost,
                error=clean_label(error, 300),
                ended_at=at,
            )
    return cost


def settle_orphans(*, at: datetime, limit: int = 500) -> int:
    """End completions whose process died: their holds give the credit back. How many there were."""
    settled = 0
    running = Completion.unscoped.filter(
        status=Completion.Status.RUNNING, started_at__lt=at - settings.ROOCLOUD_COMPLETION_LIFETIME
    ).order_by("started_at", "pk")[:limit]
    for completion in running:
        with transaction.atomic():
            if completion.hold_id and credit.settle_hold(
                hold_id=completion.hold_id, cost_nanos=completion.cost_nanos, at=at
            ):
                completion.status = Completion.Status.ORPHANED
                completion.ended_at = at
                completion.save(update_fields=["status", "ended_at"])
                settled += 1
    return settled
