"""Every write to upstreams and the catalogue."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from accounts.actors import Actor
from audit import actions as audit
from proxy import dialects
from proxy.listings import LongPrice
from proxy.models import Alias, LanguageModel, Price, Route, Upstream
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.refusals import InvalidInput

if TYPE_CHECKING:
    pass

ENVIRONMENT_UPSTREAM = "environment"


def put_upstream(
    *,
    name: str,
    base_url: str,
    api_key: str,
    kind: str | None = None,
    by: Actor | None,
    at: datetime,
) -> Upstream:
    """Make an upstream, or give the one of that name a new address and key.

    kind: of Upstream.Kind; None leaves what is stored, and is OpenAI-compatible for a new one.
    Raises InvalidInput (``name``, ``kind``, ``base_url``, ``api_key``).
    """
    if not name or slugify(name) != name.lower():
        raise InvalidInput("may hold letters, digits and dashes", field="name")
    if kind is not None and kind not in Upstream.Kind.values:
        raise InvalidInput(f"must be one of {', '.join(Upstream.Kind.values)}", field="kind")
    base_url = checked_base_url(base_url)
    with transaction.atomic():
        upstream, _ = Upstream.unscoped.get_or_create(name=name, defaults={"created_at": at})
        before, kind = upstream.base_url, kind or upstream.kind
        dialects.of_kind(kind).check(base_url, api_key)
        is_same = (upstream.kind, before) == (kind, base_url) and _has_key(upstream, api_key)
        if upstream.enabled and is_same:
            return upstream
        upstream.kind, upstream.base_url = kind, base_url
        upstream.enabled = True
        upstream.set_api_key(api_key)
        upstream.save()
        audit.record(
            action="upstream.saved",
            actor=by,
            target_kind="upstream",
            target_id=upstream.pk,
            before={"base_url": before} if before else None,
            after={"kind": kind, "base_url": base_url},
            at=at,
        )
    return upstream


def switch_upstream(*, upstream: Upstream, is_on: bool, by: Actor | None, at: datetime) -> bool:
    """Ask nothing of an upstream any more, or again; whether that changed anything. Models that
    nobody else completes are not offered while it is off."""
    with transaction.atomic():
        rows = Upstream.unscoped.select_for_update().filter(pk=upstream.pk, enabled=not is_on)
        if not (found := rows.first()):
            return False
        found.enabled = is_on
        found.save(update_fields=["enabled"])
        audit.record(
            action=f"upstream.switched_{'on' if is_on else 'off'}",
            actor=by,
            target_kind="upstream",
            target_id=upstream.pk,
            at=at,
        )
    return True


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
class NewPrice:
    """Nano-dollars per million tokens; None for a cache class that is priced as input.

    image: nano-dollars of one image. long: what long prompts cost. None leaves what is stored.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    image: int | None = None
    long: LongPrice | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model beside its price. None leaves what is stored."""

    kind: str | None = None
    name: str | None = None
    description: str | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    tags: list[str] | None = None
    deprecated: bool | None = None
    settings: dict[str, Any] | None = None
    versioned_settings: dict[str, Any] | None = None


def put_model(
    *,
    model_id: str,
    upstream: Upstream,
    upstream_model: str,
    price: NewPrice | None,
    facts: ModelFacts,
    by: Actor | None,
    at: datetime,
) -> LanguageModel:
    """Make a model, or change the one of that id, with a route to ``upstream`` beside those that it
    has. A changed price is a new one from ``at`` on.

    price: None leaves the present one. Raises InvalidInput naming the field.
    """
    if not 0 < len(model_id) <= 200 or not model_id.isascii() or not model_id.isprintable():
        raise InvalidInput("must be an id such as vendor/name", field="model_id")
    if facts.kind is not None and facts.kind not in LanguageModel.Kind.values:
        raise InvalidInput(f"must be one of {', '.join(LanguageModel.Kind.values)}", field="kind")
    for field in ("context_window", "max_tokens"):
        value = getattr(facts, field)
        if value is not None and not 1 <= value <= 10**8:
            raise InvalidInput("must be a number of tokens above zero", field=field)
    with transaction.atomic():
        model = LanguageModel.unscoped.filter(model_id=model_id).first() or LanguageModel(
            model_id=model_id, name=model_id, created_at=at
        )
        for fact in fields(facts):
            if (value := getattr(facts, fact.name)) is not None:
                setattr(model, fact.name, value)
        model.save()
        Route.unscoped.update_or_create(
            model=model,
            upstream=upstream,
            defaults={"upstream_model": upstream_model, "enabled": True},
        )
        if price is not None:
            _set_price(model, price, by=by, at=at)
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


def hide_models_of(organization_id: str) -> None:
    """Before an organization is deleted: a model that names it alone would then name nobody, which
    means everybody (A1)."""
    others = LanguageModel.organizations.through.objects.exclude(organization_id=organization_id)
    for model in LanguageModel.unscoped.filter(organizations=organization_id).exclude(
        pk__in=others.values("languagemodel_id")
    ):
        model.visible = False
        model.save(update_fields=["visible"])


def close_route(*, upstream: Upstream, upstream_model: str, by: Actor | None, at: datetime) -> None:
    """Complete nothing there any more. A model without another route is not offered."""
    with transaction.atomic():
        routes = Route.unscoped.filter(upstream=upstream, upstream_model=upstream_model)
        for route in routes.filter(enabled=True).select_related("model"):
            route.enabled = False
            route.save(update_fields=["enabled"])
            audit.record(
                action="model.route_closed",
                actor=by,
                target_kind="model",
                target_id=route.model.model_id,
                before={"upstream": upstream.name, "upstream_model": upstream_model},
                at=at,
            )


def _set_price(model: LanguageModel, price: NewPrice, *, by: Actor | None, at: datetime) -> None:
    present = model.prices.filter(valid_from__lte=at).order_by("-valid_from").first()
    row = Price(
        model=model,
        valid_from=at,
        input_nanos_per_mtok=price.input,
        output_nanos_per_mtok=price.output,
        cache_read_nanos_per_mtok=price.cache_read,
        cache_write_nanos_per_mtok=price.cache_write,
        image_nanos=present.image_nanos if present and price.image is None else price.image,
    )
    if price.long:
        row.long_above_tokens = price.long.above
        row.long_input_nanos_per_mtok = price.long.input
        row.long_output_nanos_per_mtok = price.long.output
        row.long_cache_read_nanos_per_mtok = price.long.cache_read
        row.long_cache_write_nanos_per_mtok = price.long.cache_write
    elif present:
        row.long_above_tokens = present.long_above_tokens
        (
            row.long_input_nanos_per_mtok,
            row.long_output_nanos_per_mtok,
            row.long_cache_read_nanos_per_mtok,
            row.long_cache_write_nanos_per_mtok,
        ) = present.given_for_long()
    if present is not None and _says(present) == _says(row):
        return
    row.save(force_insert=True)
    audit.record(
        action="model.price_saved",
        actor=by,
        target_kind="model",
        target_id=model.model_id,
        before=_says(present) if present else None,
        after=_says(row),
        at=at,
    )


def _says(price: Price) -> dict[str, object]:
    images = {} if price.image_nanos is None else {"image_nanos": price.image_nanos}
    long = {}
    if price.long_above_tokens is not None:
        long = {"above_tokens": price.long_above_tokens, "nanos_per_mtok": price.given_for_long()}
    return {"nanos_per_mtok": price.given(), **images, **({"long": long} if long else {})}
