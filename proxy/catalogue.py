"""What may be completed now, and where: the catalogue as this process last read it.

It is read whole, because every completion asks it and it changes seldom. Credit is never decided
from here, only which model, price and upstream a name means.
"""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from accounts.actors import Actor
from proxy import demo
from proxy.models import Alias, LanguageModel, Price, Route, Upstream
from proxy.pricing import FREE, Rates
from roocloud.lib.crypto import CannotUnseal

#: How long a change made by another process may go unseen here.
MAX_AGE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Way:
    """A route with all that a request along it needs. Host and key come from here alone (K2).

    api_key: None if it cannot be opened with this deployment's keys.
    """

    upstream_id: str
    upstream: str
    organization_id: str | None
    kind: str
    base_url: str
    api_key: str | None
    model: str
    priority: int
    weight: int
    output_limit: str
    dropped: tuple[str, ...]
    extra: tuple[str, ...]
    first_byte_timeout_s: int
    idle_timeout_s: int


@dataclass(frozen=True, slots=True)
class Priced:
    """A price that holds from an instant on."""

    valid_from: datetime
    price_id: int | None  # None for the demo
    rates: Rates


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that may be completed. prices: newest first. No ways: the demo answers.
    organizations: whose members alone may use it; empty for everybody."""

    model_id: str
    context_window: int
    max_tokens: int
    prices: tuple[Priced, ...]
    ways: tuple[Way, ...]
    organizations: frozenset[str] = frozenset()
    kind: str = LanguageModel.Kind.LANGUAGE

    def price(self, at: datetime) -> Priced | None:
        return next((price for price in self.prices if price.valid_from <= at), None)

    def ways_for(self, actor: Actor) -> list[Way]:
        if self.organizations and actor.organization_id not in self.organizations:
            return []
        return [w for w in self.ways if w.organization_id in (None, actor.organization_id)]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """offers: by model id. aliases: other id -> model id."""

    offers: dict[str, Offer]
    aliases: dict[str, str]
    read_at: datetime

    def find(self, actor: Actor, model_id: str, *, at: datetime) -> Offer | None:
        """The offer of that id or alias, if the actor may use it and it has a price."""
        offer = self.offers.get(model_id) or self.offers.get(self.aliases.get(model_id, ""))
        if offer is None or offer.price(at) is None:
            return None
        return offer if not offer.ways or offer.ways_for(actor) else None


_lock = threading.Lock()
_current: Catalogue | None = None


def cached(*, at: datetime) -> Catalogue | None:
    """The catalogue if it is fresh. No I/O."""
    known = _current
    return known if known and abs(at - known.read_at) < MAX_AGE else None


def read(*, at: datetime) -> Catalogue:
    """The catalogue, from the database if what is known is too old."""
    global _current
    with _lock:
        known = cached(at=at)
        if known is None:
            known = _current = _read(at)
        return known


def known_upstreams() -> dict[str, str]:
    """Names by id of the upstreams that this process knows, however long ago it read them. No
    I/O."""
    known = _current
    offers = known.offers.values() if known else ()
    return {way.upstream_id: way.upstream for offer in offers for way in offer.ways}


def forget() -> None:
    """Read anew at the next use."""
    global _current
    _current = None


def _changed(**_: object) -> None:
    forget()
    transaction.on_commit(forget)  # somebody may have read what was there before


def watch() -> None:
    """Forget at every change of a table that the catalogue is made of."""
    for model in (Upstream, LanguageModel, Route, Price, Alias):
        for signal in (post_save, post_delete):
            signal.connect(_changed, sender=model, dispatch_uid=f"catalogue.{model.__name__}")
    named = LanguageModel.organizations.through
    m2m_changed.connect(_changed, sender=named, dispatch_uid="catalogue.organizations")


def _read(at: datetime) -> Catalogue:
    ways: dict[int, list[Way]] = {}
    routes = Route.unscoped.filter(enabled=True, upstream__enabled=True)
    for route in routes.select_related("upstream").order_by("priority", "pk"):
        found = way(
            route.upstream, route.upstream_model, priority=route.priority, weight=route.weight
        )
        ways.setdefault(route.model_id, []).append(found)
    prices: dict[int, list[Priced]] = {}
    for price in Price.unscoped.filter(model__in=ways).order_by("-valid_from"):
        priced = Priced(price.valid_from, price.pk, price.rates())
        prices.setdefault(price.model_id, []).append(priced)
    named: dict[int, set[str]] = {}
    members = LanguageModel.organizations.through.objects.filter(languagemodel__in=ways)
    for model_pk, organization_id in members.values_list("languagemodel_id", "organization_id"):
        named.setdefault(model_pk, set()).add(organization_id)
    offers = {
        model.model_id: Offer(
            model_id=model.model_id,
            context_window=model.context_window,
            max_tokens=model.max_tokens,
            prices=tuple(prices.get(model.pk, ())),
            ways=tuple(ways[model.pk]),
            organizations=frozenset(named.get(model.pk, ())),
            kind=model.kind,
        )
        for model in LanguageModel.unscoped.filter(pk__in=ways, visible=True)
    }
    if demo.is_offered():
        offers[demo.MODEL_ID] = Offer(
            model_id=demo.MODEL_ID,
            context_window=demo.CONTEXT_WINDOW,
            max_tokens=demo.MAX_TOKENS,
            prices=(Priced(at - timedelta(days=1), None, FREE),),
            ways=(),
        )
    aliases = dict(Alias.unscoped.values_list("alias", "model__model_id"))
    return Catalogue(offers, aliases, at)


def way(upstream: Upstream, model: str, *, priority: int = 0, weight: int = 1) -> Way:
    """To what the upstream calls ``model``."""
    try:
        api_key = upstream.api_key()
    except CannotUnseal:
        api_key = None
    return Way(
        upstream_id=upstream.pk,
        upstream=upstream.name,
        organization_id=upstream.organization_id,
        kind=upstream.kind,
        base_url=upstream.base_url,
        api_key=api_key,
        model=model,
        priority=priority,
        weight=weight,
        output_limit=upstream.output_limit,
        dropped=tuple(upstream.dropped_parameters),
        extra=tuple(upstream.extra_parameters),
        first_byte_timeout_s=upstream.first_byte_timeout_s,
        idle_timeout_s=upstream.idle_timeout_s,
    )
