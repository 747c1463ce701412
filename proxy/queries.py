"""Reads of the catalogue and of completions, for other rooms and for pages."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncHour
from django.utils import timezone

from accounts.actors import Actor
from orgs import queries as orgs
from proxy import demo
from proxy.admission import PROVIDER
from proxy.models import Completion, LanguageModel, Price, UsageDay
from proxy.pricing import FREE, Rates

_NANOS_PER_USD = 10**9
_MTOK = 10**6


def _usd_per_token(nanos_per_mtok: int) -> str:
    """A plain decimal, as the client's schema wants it (trap 28)."""
    usd = Decimal(nanos_per_mtok) / _NANOS_PER_USD / _MTOK
    text = f"{usd:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _usd_per_thousand(nanos_per_mtok: int) -> float:
    return float(Decimal(nanos_per_mtok) / _NANOS_PER_USD / 1000)


def _pricing(rates: Rates, *, has_cache: bool) -> dict[str, str]:
    pricing = {"input": _usd_per_token(rates.input), "output": _usd_per_token(rates.output)}
    if has_cache:
        pricing["input_cache_read"] = _usd_per_token(rates.cache_read)
        pricing["input_cache_write"] = _usd_per_token(rates.cache_write)
    return pricing


def models(actor: Actor | None, *, at: datetime) -> list[dict[str, Any]]:
    """The models that the actor (None: anybody) may use, each as protocol/proxy.md §3 wants it with
    the keys of the self-hosting guide beside (§3.1; its prices are USD per thousand tokens)."""
    rows = (
        LanguageModel.unscoped.public()
        if actor is None
        else LanguageModel.objects.visible_to(actor)
    )
    language = rows.filter(kind=LanguageModel.Kind.LANGUAGE)
    priced = list(language.priced(at).order_by("model_id"))
    prices = Price.unscoped.in_bulk([row.price_id for row in priced])
    entries = [_entry(row, prices[row.price_id]) for row in priced]
    if not entries and demo.is_offered():
        entries.append(_demo_entry())
    if actor is None:
        return entries
    allow_list = orgs.organization_settings(actor).allow_list
    allowed = [entry for entry in entries if allow_list.allows(PROVIDER, entry["id"])]
    return [entry for entry in allowed if actor.key is None or actor.key.allows(entry["id"])]


def _entry(model: LanguageModel, price: Price) -> dict[str, Any]:
    rates = price.rates()
    has_cache = price.cache_read_nanos_per_mtok is not None
    vendor = model.model_id.partition("/")[0]
    entry = {
        "id": model.model_id,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": vendor,
        "name": model.name or model.model_id,
        "description": model.description,
        "context_window": model.context_window,
        "max_tokens": model.max_tokens,
        "type": "language",
        "tags": model.tags,
        "pricing": _pricing(rates, has_cache=has_cache),
        "provider": vendor,
        "maxTokens": model.max_tokens,
        "contextWindow": model.context_window,
        "supportsImages": "vision" in model.tags,
        "supportsPromptCache": has_cache,
        "inputPrice": _usd_per_thousand(rates.input),
        "outputPrice": _usd_per_thousand(rates.output),
    }
    if model.deprecated:
        entry["deprecated"] = True
    if model.default_temperature is not None:
        entry["default_temperature"] = model.default_temperature
    if model.settings:
        entry["settings"] = model.settings
    if model.versioned_settings:
        entry["versionedSettings"] = model.versioned_settings
    return entry


def _demo_entry() -> dict[str, Any]:
    return {
        "id": demo.MODEL_ID,
        "object": "model",
        "created": 0,
        "owned_by": "demo",
        "name": demo.NAME,
        "description": demo.DESCRIPTION,
        "context_window": demo.CONTEXT_WINDOW,
        "max_tokens": demo.MAX_TOKENS,
        "type": "language",
        "tags": ["free"],
        "pricing": _pricing(FREE, has_cache=False),
        "provider": "demo",
        "maxTokens": demo.MAX_TOKENS,
        "contextWindow": demo.CONTEXT_WINDOW,
        "supportsImages": False,
        "supportsPromptCache": False,
        "inputPrice": 0.0,
        "outputPrice": 0.0,
    }


def dashboard_days(first: date) -> Sequence[Mapping[str, object]]:
    """A row a day from ``first`` on, of the roll-up: completions that ended, failures, tokens and
    spend in nano-dollars."""
    return list(
        UsageDay.unscoped.filter(day__gte=first)
        .values("day")
        .order_by("day")
        .annotate(
            done=Sum("completions"),
            wrong=Sum("failed"),
            tokens=Sum("prompt_tokens") + Sum("completion_tokens"),
            spend_nanos=Sum("cost_nanos"),
        )
    )


def dashboard_hours(since: datetime) -> Sequence[Mapping[str, object]]:
    """A row an hour since ``since``: completions that began, those that failed, those that run, and
    spend in nano-dollars. The caller keeps ``since`` to a day: these are raw rows."""
    return list(
        Completion.unscoped.filter(started_at__gte=since)
        .annotate(hour=TruncHour("started_at"))
        .values("hour")
        .order_by("hour")
        .annotate(
            completions=Count("pk"),
            failed=Count("pk", filter=Q(status=Completion.Status.FAILED)),
            running=Count("pk", filter=Q(status=Completion.Status.RUNNING)),
            spend_nanos=Sum("cost_nanos"),
        )
    )


def unpriced_models(*, at: datetime) -> int:
    """How many models are visible and not offered, because they have no price."""
    visible = LanguageModel.unscoped.filter(visible=True)
    return visible.exclude(pk__in=LanguageModel.unscoped.priced(at).values("pk")).count()


def has_models(*, at: datetime) -> bool:
    """Whether anybody may complete anything; without a model with a price nobody may."""
    return demo.is_offered() or LanguageModel.unscoped.offered().priced(at).exists()


def models_of(actor: Actor, *, at: datetime) -> list[tuple[str, str]]:
    """(id, name) of each model that the actor may use: of language, as editors list them, then of
    other kinds, which they do not."""
    language = [(entry["id"], entry["name"]) for entry in models(actor, at=at)]
    rows = LanguageModel.objects.visible_to(actor).exclude(kind=LanguageModel.Kind.LANGUAGE)
    allow_list = orgs.organization_settings(actor).allow_list
    return language + [
        (row.model_id, row.name or row.model_id)
        for row in rows.priced(at).order_by("model_id")
        if allow_list.allows(PROVIDER, row.model_id)
        and (actor.key is None or actor.key.allows(row.model_id))
    ]


def model_choices(actor: Actor) -> list[tuple[str, str]]:
    """(id, name) of each model that the actor's editor can use, for the provider sign-up page."""
    return [(entry["id"], entry["name"]) for entry in models(actor, at=timezone.now())]
