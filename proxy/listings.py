"""What others say of models and prices, read into one shape. No I/O.

Three kinds of files are known (models.dev's ``api.json``, litellm's
``model_prices_and_context_window.json``, our own seed), and what upstreams answer to ``GET
/models``. All are strangers' data: what does not fit is left out, and a price that cannot be
understood is no price.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from django.core.exceptions import ValidationError

from proxy.model_settings import check_settings, check_versioned_settings
from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label

SEED = Path(__file__).resolve().parent / "data" / "catalogue.json"

_NANOS_PER_USD = 10**9
_MTOK = 10**6
#: USD per million tokens. Nothing costs as much; what says so is misunderstood.
_DEAREST = 10**5
_MOST_TOKENS = 10**8
_MAX_MODELS = 10_000


@dataclass(frozen=True, slots=True)
class Provider:
    """host: of its API. vendor: what its ids begin with here, if they name none themselves."""

    host: str
    vendor: str


PROVIDERS = {
    "openai": Provider("api.openai.com", "openai"),
    "anthropic": Provider("api.anthropic.com", "anthropic"),
    "google": Provider("generativelanguage.googleapis.com", "google"),
    "xai": Provider("api.x.ai", "xai"),
    "deepseek": Provider("api.deepseek.com", "deepseek"),
    "mistral": Provider("api.mistral.ai", "mistral"),
    "groq": Provider("api.groq.com", "groq"),
    "openrouter": Provider("openrouter.ai", "openrouter"),
}
#: Names of providers in price files -> here.
_OTHER_NAMES = {
    "gemini": "google",
    "bedrock_converse": "bedrock",
    "amazon-bedrock": "bedrock",
    "vertex_ai-anthropic_models": "vertex",
    "google-vertex-anthropic": "vertex",
}


def provider_at(base_url: str) -> str | None:
    """The name of the provider that serves at that address, if it is a known one."""
    host = urlsplit(base_url).hostname or ""
    return next((name for name, known in PROVIDERS.items() if known.host == host), None)


def dotted(name: str) -> str:
    """Claude's names as clients have them, after OpenRouter: ``claude-opus-4.6``."""
    return re.sub(r"-(\d+)-(\d{1,2})(?=-|$)", r"-\1.\2", name)


_Nanos = Annotated[int, msgspec.Meta(ge=0, le=_DEAREST * _NANOS_PER_USD)]
_Tokens = Annotated[int, msgspec.Meta(ge=1, le=_MOST_TOKENS)]


class LongPrice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all tokens of a request cost whose whole input is more than ``above`` tokens. Amounts as
    those of ListPrice."""

    above: _Tokens
    input: _Nanos
    output: _Nanos
    cache_read: _Nanos | None = None
    cache_write: _Nanos | None = None


class ListPrice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nano-dollars per million tokens; None for a cache class that is priced as input. image: of
    one that is made, where tokens do not say what it costs; None: not said. long: None: not
    said."""

    input: _Nanos
    output: _Nanos
    cache_read: _Nanos | None = None
    cache_write: _Nanos | None = None
    image: _Nanos | None = None
    long: LongPrice | None = None


Kind = Literal["language", "embedding", "image"]
_TOKEN_CLASSES = ("input", "output", "cache_read", "cache_write")


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model as somebody lists it. id: the upstream's. None: not said.

    kind: of LanguageModel.Kind.
    price: None if there is none, or none that can be understood; 0 is a price.
    notes: what an administrator should know before it is offered.
    """

    id: str
    kind: Kind | None = None
    name: str = ""
    description: str = ""
    context_window: _Tokens | None = None
    max_tokens: _Tokens | None = None
    tags: list[str] | None = None
    price: ListPrice | None = None
    deprecated: bool | None = None
    settings: dict[str, Any] | None = None
    versioned_settings: dict[str, Any] | None = None
    notes: list[str] = []


Catalogues = dict[str, list[Listed]]


@cache
def seed() -> Catalogues:
    """The catalogue that comes with this release, by provider."""
    return read_file(SEED.read_bytes())


def read_file(body: bytes) -> Catalogues:
    """The models of a file by provider; those of a saved list of an upstream are under "".

    Raises InvalidInput for a file of another kind.
    """
    document = wire.loads(body)
    if isinstance(document, dict) and isinstance(document.get("providers"), dict):
        seeded = document["providers"].items()
        return {name: _usable(map(_of_seed, _objects(models))) for name, models in seeded}
    if isinstance(document, list) or (isinstance(document, dict) and "data" in document):
        return {"": read_list(document)}
    found: Catalogues = {}
    for name, entry in document.items() if isinstance(document, dict) else ():
        if not isinstance(entry, dict):
            continue
        if isinstance(entry.get("models"), dict):
            whose = _OTHER_NAMES.get(str(name), str(name))
            found[whose] = _usable(_models_dev(entry["models"]))
        elif isinstance(provider := entry.get("litellm_provider"), str):
            provider = _OTHER_NAMES.get(provider, provider)
            found.setdefault(provider, []).extend(_litellm(name, entry))
    if not any(found.values()):
        raise InvalidInput(
            "is neither models.dev's api.json, nor litellm's price file, nor a list of models"
        )
    return {name: _usable(listed) for name, listed in found.items()}


def read_list(document: object) -> list[Listed]:
    """What an upstream answers to ``GET /models``.

    Raises InvalidInput for what is no list of models.
    """
    if isinstance(document, dict):
        document = document.get("data", document.get("models"))
    if not isinstance(document, list):
        raise InvalidInput("is not a list of models")
    return _usable(listed for entry in _objects(document) if (listed := _of_list(entry)))


def completed_by(own: Iterable[Listed], known: Iterable[Listed]) -> list[Listed]:
    """``own`` with what it leaves open taken from ``known``."""
    by_id = {listed.id: listed for listed in known}
    return [_completed(listed, by_id.get(listed.id)) for listed in own]


def _completed(own: Listed, known: Listed | None) -> Listed:
    if known is None:
        return own
    is_priced_elsewhere = own.price is None and known.price is not None
    return msgspec.structs.replace(
        own,
        kind=own.kind or known.kind,
        name=own.name or known.name,
        context_window=own.context_window or known.context_window,
        max_tokens=own.max_tokens or known.max_tokens,
        tags=known.tags if own.tags is None else own.tags,
        price=own.price or known.price,
        notes=[*own.notes, *known.notes, *(["price of the seed"] if is_priced_elsewhere else [])],
    )


def _usable(models: Iterable[Listed]) -> list[Listed]:
    """Those with an id that we can keep, each once."""
    found: dict[str, Listed] = {}
    for listed in models:
        is_id = 0 < len(listed.id) <= 160 and listed.id.isascii() and listed.id.isprintable()
        if is_id and not re.search(r"\s", listed.id) and len(found) < _MAX_MODELS:
            found.setdefault(listed.id, listed)
    return list(found.values())


def _of_seed(entry: dict[str, Any]) -> Listed:
    price = _object(entry.get("price"))
    return Listed(
        id=_label(entry.get("id")),
        kind="language",
        name=_label(entry.get("name")),
        context_window=_tokens(entry.get("context_window")),
        max_tokens=_tokens(entry.get("max_tokens")),
        tags=_strings(entry.get("tags"), []),
        price=_with_long(
            _price(*(price.get(name) for name in _TOKEN_CLASSES), per=1),
            _object(price.get("long")).get("above"),
            _object(price.get("long")),
            per=1,
        ),
        notes=_strings(entry.get("notes"), []),
    )


def _models_dev(models: dict[str, Any]) -> Iterator[Listed]:
    for model_id, entry in models.items():
        entry = _object(entry)
        kind = _models_dev_kind(model_id, entry)
        if kind is None:
            continue
        cost, limit = _object(entry.get("cost")), _object(entry.get("limit"))
        inputs = _strings(_object(entry.get("modalities")).get("input"), [])
        price = _price(*(cost.get(name) for name in _TOKEN_CLASSES), per=1)
        long, notes = _models_dev_long(cost)
        if long:
            price = _with_long(price, long[0], long[1], per=1)
        yield Listed(
            id=model_id,
            kind=kind,
            name=_label(entry.get("name")),
            context_window=_tokens(limit.get("context")),
            max_tokens=_tokens(limit.get("output")) if kind != "embedding" else None,
            tags=_tags(vision="image" in inputs, reasoning=entry.get("reasoning") is True),
            price=price if kind != "image" else _of_images(price),
            deprecated=entry.get("status") == "deprecated",
            notes=notes,
        )


def _models_dev_long(cost: dict[str, Any]) -> tuple[tuple[int, dict[str, Any]] | None, list[str]]:
    """((tokens, prices beyond them) or None, notes). Of several steps the first is taken: beyond
    the next one it is still dearer."""
    steps = {}
    for tier in _objects(cost.get("tiers")):
        bound = _object(tier.get("tier"))
        if bound.get("type") == "context" and (above := _tokens(bound.get("size"))):
            steps[above] = tier
    for name, tier in cost.items():
        if isinstance(tier, dict) and (found := _OVER.match(name)):
            steps[int(found[1]) * 1000] = tier
    if not steps:
        return None, []
    above = min(steps)
    notes = ["dearer still for longer prompts at the provider"] if len(steps) > 1 else []
    return (above, steps[above]), notes


def _models_dev_kind(model_id: str, entry: dict[str, Any]) -> Kind | None:
    """What embeds is said to make text, and known by its family and name alone."""
    makes = _strings(_object(entry.get("modalities")).get("output"), ["text"])
    if "text" in makes:
        return _named_kind(f"{entry.get('family')} {model_id}") or "language"
    return "image" if "image" in makes else None


def _litellm(name: str, entry: dict[str, Any]) -> Iterator[Listed]:
    kind = _LITELLM_KINDS.get(str(entry.get("mode")))
    endpoints = _strings(entry.get("supported_endpoints"), [])
    makes = _strings(entry.get("supported_output_modalities"), ["text"])
    if kind is None or (kind == "language" and "text" not in makes) or _SIZED.search(name):
        return
    if endpoints and not _LITELLM_ENDPOINTS[kind] & set(endpoints):
        return
    context = entry.get("max_input_tokens", entry.get("max_tokens"))
    most = entry.get("max_output_tokens", entry.get("max_tokens"))
    yield Listed(
        id=name.removeprefix(f"{entry['litellm_provider']}/").removeprefix("vertex_ai/"),
        kind=kind,
        context_window=_tokens(context),
        max_tokens=_tokens(most) if kind == "language" else None,
        tags=_tags(
            vision=entry.get("supports_vision") is True,
            reasoning=entry.get("supports_reasoning") is True,
        ),
        price=_litellm_price(kind, entry),
        notes=_litellm_notes(kind, entry),
    )


def _litellm_price(kind: Kind, entry: dict[str, Any]) -> ListPrice | None:
    given, output = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    read = entry.get("cache_read_input_token_cost")
    write = entry.get("cache_creation_input_token_cost")
    if kind == "language":
        price = _price(given, output, read, write, per=_MTOK)
        above = min((int(m[1]) for key in entry if (m := _TIER.match(key))), default=None)
        if above is None:
            return price
        beyond = {
            name: entry.get(f"{key}_above_{above}k_tokens")
            for name, key in _LITELLM_CLASSES.items()
        }
        return _with_long(price, above * 1000, beyond, per=_MTOK)
    if kind == "embedding":
        return _price(given, output or 0, None, None, per=_MTOK)
    made = entry.get("output_cost_per_image_token", output)
    each = entry.get("output_cost_per_image", entry.get("input_cost_per_image"))
    by_token = _price(given, made, read, write, per=_MTOK)
    return _of_images(by_token, each=_usd(each, per=1))


def _litellm_notes(kind: Kind, entry: dict[str, Any]) -> list[str]:
    notes = []
    if kind == "image" and _float(entry.get("input_cost_per_image_token")) > _float(
        entry.get("input_cost_per_token")
    ):
        notes.append("dearer for images in the input at the provider")
    if _float(entry.get("input_cost_per_pixel")) > 0:
        notes.append("the provider charges by the pixel")
    if isinstance(ends := entry.get("deprecation_date"), str):
        notes.append(f"ends on {clean_label(ends, 20)}")
    return notes


_LITELLM_KINDS: dict[str, Kind] = {
    "chat": "language",
    "embedding": "embedding",
    "image_generation": "image",
}
#: Images are also made by chat.
_LITELLM_ENDPOINTS = {
    "language": {"/v1/chat/completions"},
    "embedding": {"/v1/embeddings"},
    "image": {"/v1/images/generations", "/v1/chat/completions"},
}
#: A price of one size, under a name that no upstream knows.
_SIZED = re.compile(r"(^|/)\d+-x-\d+/")
_TIER = re.compile(r"^input_cost_per_token_above_(\d+)k_tokens$")
_LITELLM_CLASSES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
#: models.dev's name for what long prompts cost, with thousands of tokens.
_OVER = re.compile(r"^context_over_(\d+)k$")


def _of_list(entry: dict[str, Any]) -> Listed | None:
    """The words of OpenAI, OpenRouter, Roo Cloud, Anthropic, Groq, Mistral and vLLM; None for what
    says of itself that it is of none of our kinds."""
    model_id = entry.get("id", entry.get("name"))
    if not isinstance(model_id, str) or (kind := _list_kind(model_id, entry)) == "other":
        return None
    architecture = _object(entry.get("architecture"))
    capabilities = _object(entry.get("capabilities"))
    price, notes = _list_price(_object(entry.get("pricing")))
    if kind == "image":
        price = _of_images(price)
    provider_limits = _object(entry.get("top_provider"))
    settings, versioned = entry.get("settings"), entry.get("versionedSettings")
    has_settings = _passes(check_settings, settings)
    has_versioned = _passes(check_versioned_settings, versioned)
    if (settings and not has_settings) or (versioned and not has_versioned):
        notes.append("its settings do not fit and are left out")
    return Listed(
        id=model_id.removeprefix("models/"),
        kind=kind,
        name=_label(entry.get("name") or entry.get("display_name")),
        description=_label(entry.get("description"), 500),
        context_window=_first_tokens(
            entry, "context_window", "context_length", "max_context_length", "max_model_len",
            "max_input_tokens",
        ),
        max_tokens=_first_tokens(entry, "max_tokens", "max_completion_tokens")
        or _tokens(provider_limits.get("max_completion_tokens")),
        tags=_list_tags(entry, architecture, capabilities),
        price=price,
        deprecated=True if entry.get("deprecated") is True else None,
        settings=settings if has_settings else None,
        versioned_settings=versioned if has_versioned else None,
        notes=notes,
    )  # fmt: skip


def _list_kind(model_id: str, entry: dict[str, Any]) -> Kind | Literal["other"] | None:
    """None for what only says its name, and that not what it is."""
    made = _strings(_object(entry.get("architecture")).get("output_modalities"), [])
    chats = _object(entry.get("capabilities")).get("completion_chat")
    said = {str(entry.get("type")), *made}
    if "embedding" in said or "embeddings" in said:
        return "embedding"
    if "image" in said and "text" not in said:
        return "image"
    if said & {"moderation", "audio", "rerank"} or (made and "text" not in made):
        return "other"
    named = _named_kind(model_id)
    if chats is False:
        return named or "other"
    return named or ("language" if said & {"text", "language"} or chats else None)


def _named_kind(name: str) -> Kind | None:
    """What a name tells, where nothing else does."""
    if "embed" in name.lower():
        return "embedding"
    return "image" if _PAINTERS.search(name.lower()) else None


_PAINTERS = re.compile(r"(^|/)(dall-e|gpt-image|chatgpt-image|imagen|grok-\S*image|flux)")


def _passes(check: Any, value: object) -> bool:
    if not value:
        return False
    try:
        check(value)
    except ValidationError:
        return False
    return True


def _list_tags(
    entry: dict[str, Any], architecture: dict[str, Any], capabilities: dict[str, Any]
) -> list[str] | None:
    if isinstance(entry.get("tags"), list) and "type" in entry:
        return [clean_label(tag, 40) for tag in _strings(entry["tags"], []) if tag.strip()]
    if architecture:
        parameters = _strings(entry.get("supported_parameters"), [])
        inputs = _strings(architecture.get("input_modalities"), [])
        return _tags(vision="image" in inputs, reasoning="reasoning" in parameters)
    if isinstance(vision := capabilities.get("vision"), bool):
        return _tags(vision=vision, reasoning=capabilities.get("reasoning") is True)
    return None


def _list_price(pricing: dict[str, Any]) -> tuple[ListPrice | None, list[str]]:
    """Decimal strings in USD per token: OpenRouter's (prompt, completion) and Roo Cloud's (input,
    output). Numbers have another unit at each who sends them, so they are no price."""
    given = pricing.get("prompt", pricing.get("input"))
    output = pricing.get("completion", pricing.get("output"))
    if not pricing or given == "" or output == "":
        return None, []
    if not isinstance(given, str) or not isinstance(output, str):
        return None, ["its price has an unknown unit"]
    read, write = pricing.get("input_cache_read"), pricing.get("input_cache_write")
    price = _price(given, output, read or None, write or None, per=_MTOK)
    if price is None:
        return None, ["its price varies or cannot be read"]
    charged = [key for key in ("request", "image") if _usd(pricing.get(key), per=1)]
    return price, [f"the provider also charges by {key}" for key in charged]


def _price(given: Any, output: Any, read: Any, write: Any, *, per: int) -> ListPrice | None:
    """per: how many times the figures make up USD per million tokens."""
    nanos = [_usd(value, per=per) for value in (given, output, read, write)]
    if nanos[0] is None or nanos[1] is None:
        return None
    return ListPrice(nanos[0], nanos[1], nanos[2], nanos[3])


def _with_long(
    price: ListPrice | None, above: Any, beyond: dict[str, Any], *, per: int
) -> ListPrice | None:
    """With what long prompts cost; a class that is not named for them costs what it always does.
    None if a named one cannot be understood: to charge the price of short prompts would be wrong.
    """
    tokens = _tokens(above)
    if price is None or tokens is None:
        return price
    named = {name: value for name in _TOKEN_CLASSES if (value := beyond.get(name)) is not None}
    nanos = {name: _usd(value, per=per) for name, value in named.items()}
    if None in nanos.values():
        return None
    usual = {name: getattr(price, name) for name in _TOKEN_CLASSES}
    return msgspec.structs.replace(price, long=LongPrice(above=tokens, **{**usual, **nanos}))


def _of_images(by_token: ListPrice | None, *, each: int | None = None) -> ListPrice | None:
    """The price of a model that makes images. 0 is none: lists say it where they do not know, and
    images would be free."""
    by_token = by_token or ListPrice(0, 0)
    price = msgspec.structs.replace(by_token, image=each or None)
    return price if price.input or price.output or price.image else None


def _usd(value: Any, *, per: int) -> int | None:
    """Nano-dollars; None for what is no amount, negative or beyond reason."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        usd = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    if not usd.is_finite() or not 0 <= usd <= Decimal(_DEAREST) / per:
        return None
    return int((usd * per * _NANOS_PER_USD).to_integral_value())


def _tags(*, vision: bool, reasoning: bool) -> list[str]:
    return [*(["vision"] if vision else []), *(["reasoning"] if reasoning else [])]


def _first_tokens(entry: dict[str, Any], *keys: str) -> int | None:
    return next((found for key in keys if (found := _tokens(entry.get(key)))), None)


def _tokens(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 1 <= value <= _MOST_TOKENS else None


def _float(value: Any) -> float:
    return value if isinstance(value, int | float) else 0.0


def _label(value: Any, most: int = 200) -> str:
    return clean_label(value, most) if isinstance(value, str) else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: Any, default: list[str]) -> list[str]:
    if not isinstance(value, list):
        return default
    return [item for item in value if isinstance(item, str)]
