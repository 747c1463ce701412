"""Taking models and prices from lists: what would change first, then the chosen part of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec
from django.core.exceptions import ValidationError

from accounts.actors import Actor
from proxy import actions, clouds, listings
from proxy.listings import Listed, ListPrice, LongPrice
from proxy.model_settings import check_settings, check_versioned_settings
from proxy.models import LanguageModel, Price, Route, Upstream
from roocloud.lib.money import NANOS_PER_USD
from roocloud.lib.refusals import InvalidInput

#: Tags that lists speak of; all others are the administrator's own and stay.
_LISTED_TAGS = {"vision", "reasoning"}


@dataclass(frozen=True, slots=True)
class Fact:
    """What a list says differently of a model that is there already."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """What taking one listed model would do.

    state: new, changed, same; kept: its route was switched off or leads to another of the
    upstream's models, by somebody's choice; gone: the upstream does not list it any more. kind: of
    LanguageModel.Kind, as it is or will be. present: the price that counts now. price: the listed
    one; None leaves the present one, and without any the model is not offered. elsewhere: the other
    upstreams of the model.
    """

    state: str
    listed: Listed
    model_id: str
    kind: str
    present: ListPrice | None
    price: ListPrice | None
    facts: tuple[Fact, ...] = ()
    elsewhere: tuple[str, ...] = ()
    why_kept: tuple[str, ...] = ()

    @property
    def is_priced(self) -> bool:
        return (self.price or self.present) is not None

    @property
    def changes_price(self) -> bool:
        return self.price is not None and self.price != self.present

    @property
    def is_takeable(self) -> bool:
        """Whether it may be taken unseen: not what needs a price, or was left alone by choice."""
        return self.state in ("new", "changed") and self.is_priced

    @property
    def is_disputed(self) -> bool:
        """Whether it would change what another upstream is completed and charged by."""
        return bool(self.elsewhere) and bool(self.facts or self.changes_price)

    @property
    def notes(self) -> list[str]:
        """What to know before it is taken."""
        notes = list(self.listed.notes)
        if self.price and self.price.long:
            notes.append(long_price_text(self.price.long))
        if self.elsewhere:
            notes.append(f"also completed at {', '.join(self.elsewhere)}, for the same price")
        return [*notes, *self.why_kept]


def differences(
    upstream: Upstream,
    listed: Sequence[Listed],
    *,
    at: datetime,
    filters: Sequence[str] = (),
    is_complete: bool = False,
) -> list[Change]:
    """What taking ``listed`` at ``upstream`` would change, by state and id.

    filters: patterns such as ``anthropic/*``, of which an id here or there must match one.
    is_complete: it is all that the upstream has, so that what is missing is gone.
    """
    routes = {
        route.upstream_model: route
        for route in Route.unscoped.filter(upstream=upstream).select_related("model")
    }
    ids = {entry.id: _model_id(upstream, entry.id, routes) for entry in listed}
    by_model = {route.model.model_id: route for route in routes.values()}
    present = _present(ids.values(), at=at)
    elsewhere = _elsewhere(upstream, list(present))
    found = [
        _change(
            entry,
            model_id,
            by_model.get(model_id),
            present.get(model_id),
            elsewhere.get(model_id, []),
        )
        for entry, model_id in zip(listed, ids.values(), strict=True)
    ]
    if is_complete:
        found += _gone(routes, known={entry.id for entry in listed}, at=at)
    wanted = [change for change in found if _matches(change, filters)]
    return sorted(wanted, key=lambda change: (*_rank(change), change.model_id))


def _rank(change: Change) -> tuple[int, bool]:
    return ("changed", "new", "gone", "kept", "same").index(change.state), not change.is_priced


def _matches(change: Change, filters: Sequence[str]) -> bool:
    ids = (change.model_id, change.listed.id)
    return not filters or any(fnmatchcase(one, pattern) for one in ids for pattern in filters)


def _model_id(upstream: Upstream, listed_id: str, routes: dict[str, Route]) -> str:
    """What a listed model is called here: as the model it is a route of, else vendor/name."""
    if route := routes.get(listed_id):
        return route.model.model_id
    if "/" in listed_id:
        return listed_id
    if clouds.cloud_at(upstream.base_url) and (claude := clouds.model_id(listed_id)):
        return claude
    provider = listings.provider_at(upstream.base_url)
    if provider == "anthropic":
        listed_id = listings.dotted(listed_id)
    vendor = listings.PROVIDERS[provider].vendor if provider else upstream.name
    return f"{vendor}/{listed_id}"


def _present(
    model_ids: Iterable[str], *, at: datetime
) -> dict[str, tuple[LanguageModel, Price | None]]:
    models = {
        model.model_id: model
        for model in LanguageModel.unscoped.filter(model_id__in=set(model_ids))
    }
    priced = LanguageModel.unscoped.filter(model_id__in=models).priced(at)
    price_ids = {model.model_id: model.price_id for model in priced}
    prices = Price.unscoped.in_bulk(list(price_ids.values()))
    return {
        model_id: (model, prices.get(price_ids.get(model_id, 0)))
        for model_id, model in models.items()
    }


def _elsewhere(upstream: Upstream, model_ids: list[str]) -> dict[str, list[str]]:
    """The other upstreams of each model: a price is the model's, at whichever it is completed."""
    found: dict[str, list[str]] = {}
    routes = Route.unscoped.filter(model__model_id__in=model_ids, enabled=True)
    others = routes.exclude(upstream=upstream).order_by("upstream__name")
    for model_id, name in others.values_list("model__model_id", "upstream__name"):
        found.setdefault(model_id, []).append(name)
    return found


def _change(
    listed: Listed,
    model_id: str,
    route: Route | None,
    known: tuple[LanguageModel, Price | None] | None,
    elsewhere: list[str],
) -> Change:
    model, row = known or (None, None)
    present = price_of(row) if row else None
    price = listed.price
    if price and present:  # what is not said is left as it is
        if price.image is None:
            price = msgspec.structs.replace(price, image=present.image)
        if price.long is None:
            price = msgspec.structs.replace(price, long=present.long)
    facts = _facts(model, listed) if model else ()
    kept = _why_kept(route, listed)
    if route is None:
        state = "new"
    elif kept:
        state = "kept"
    else:
        state = "same" if not facts and price in (None, present) else "changed"
    kind = listed.kind or (model.kind if model else LanguageModel.Kind.LANGUAGE)
    return Change(
        state, listed, model_id, kind, present, price, facts, tuple(elsewhere), tuple(kept)
    )


def price_of(row: Price) -> ListPrice:
    """What a stored price says, as a list would."""
    return ListPrice(
        input=row.input_nanos_per_mtok,
        output=row.output_nanos_per_mtok,
        cache_read=row.cache_read_nanos_per_mtok,
        cache_write=row.cache_write_nanos_per_mtok,
        image=row.image_nanos,
        long=_long_price_of(row),
    )


def _long_price_of(row: Price) -> LongPrice | None:
    above, (given, output, read, write) = row.long_above_tokens, row.given_for_long()
    if above is None or given is None or output is None:
        return None
    return LongPrice(above=above, input=given, output=output, cache_read=read, cache_write=write)


def _why_kept(route: Route | None, listed: Listed) -> list[str]:
    if route is None:
        return []
    if route.upstream_model != listed.id:
        return [f"its route leads to {route.upstream_model}"]
    return [] if route.enabled else ["its route is switched off"]


def _facts(model: LanguageModel, listed: Listed) -> tuple[Fact, ...]:
    """Names and descriptions are not among them: here they are the administrator's."""
    pairs = {
        "kind": (model.kind, listed.kind),
        "context": (model.context_window, listed.context_window),
        "output": (model.max_tokens, listed.max_tokens),
        "tags": (" ".join(model.tags), _joined(_tags(model, listed))),
        "deprecated": (model.deprecated, listed.deprecated),
        "settings": (model.settings, listed.settings),
        "versioned settings": (model.versioned_settings, listed.versioned_settings),
    }
    return tuple(
        Fact(label, _said(before), _said(after))
        for label, (before, after) in pairs.items()
        if after is not None and after != before
    )


def _tags(model: LanguageModel | None, listed: Listed) -> list[str] | None:
    if listed.tags is None:
        return None
    present = model.tags if model else []
    kept = [tag for tag in present if tag in listed.tags or tag not in _LISTED_TAGS]
    return [*kept, *(tag for tag in listed.tags if tag not in kept)]


def _joined(tags: list[str] | None) -> str | None:
    return None if tags is None else " ".join(tags)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _gone(routes: dict[str, Route], *, known: set[str], at: datetime) -> list[Change]:
    missing = [route for name, route in routes.items() if name not in known and route.enabled]
    present = _present([route.model.model_id for route in missing], at=at)
    found = []
    for route in missing:
        row = present[route.model.model_id][1]
        price = price_of(row) if row else None
        listed = Listed(id=route.upstream_model)
        model = route.model
        found.append(Change("gone", listed, model.model_id, model.kind, price, None))
    return found


def take(
    upstream: Upstream, listed: Listed, price: ListPrice | None, *, by: Actor | None, at: datetime
) -> LanguageModel:
    """Make or change a model and its route as a list says, with that price from ``at`` on.

    price: None leaves the present one. Whether it is visible stays as it is. Raises InvalidInput.
    """
    if not 0 < len(listed.id) <= 160:
        raise InvalidInput("must be an id of at most 160 characters", field="id")
    try:
        check_settings(listed.settings or {})
        check_versioned_settings(listed.versioned_settings or {})
    except ValidationError as refusal:
        raise InvalidInput(refusal.messages[0], field="settings") from None
    routes = Route.unscoped.filter(upstream=upstream, upstream_model=listed.id)
    known = {route.upstream_model: route for route in routes.select_related("model")}
    model_id = _model_id(upstream, listed.id, known)
    model = LanguageModel.unscoped.filter(model_id=model_id).first()
    return actions.put_model(
        model_id=model_id,
        upstream=upstream,
        upstream_model=listed.id,
        price=None if price is None else actions.NewPrice(**msgspec.structs.asdict(price)),
        facts=actions.ModelFacts(
            kind=listed.kind,
            name=None if model else listed.name or None,
            description=None if model else listed.description or None,
            context_window=listed.context_window,
            max_tokens=listed.max_tokens,
            tags=_tags(model, listed),
            deprecated=listed.deprecated,
            settings=listed.settings,
            versioned_settings=listed.versioned_settings,
        ),
        by=by,
        at=at,
    )


def price_text(price: ListPrice | None) -> str:
    """``$3 in, $15 out, $0.3 cached, $3.75 cache write`` per million tokens, to the nano-dollar;
    ``$0.04 an image``."""
    if price is None:
        return "no price"
    if is_free(price):
        return "free"
    if price.image and not (price.input or price.output):
        return f"${usd(price.image)} an image"
    text = _token_text(price)
    return text if price.image is None else f"{text}, ${usd(price.image)} an image"


def long_price_text(price: LongPrice) -> str:
    """``above 200,000 tokens of input: $6 in, $22.5 out`` per million tokens."""
    return f"above {price.above:,} tokens of input: {_token_text(price)}"


def _token_text(price: ListPrice | LongPrice) -> str:
    words = {
        "in": price.input,
        "out": price.output,
        "cached": price.cache_read,
        "cache write": price.cache_write,
    }
    return ", ".join(f"${usd(nanos)} {word}" for word, nanos in words.items() if nanos is not None)


def is_free(price: ListPrice) -> bool:
    """Whether it says 0 for every class."""
    return not any(msgspec.structs.astuple(price))


def usd(nanos: int) -> str:
    """A plain decimal without idle zeros: ``0.3``."""
    whole, rest = divmod(nanos, NANOS_PER_USD)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
