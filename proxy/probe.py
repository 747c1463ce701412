"""Asking an upstream about itself, for an administrator: its list of models, and whether it works.

Nothing here is charged: no hold, no completion on record.
"""

import ssl
import time
from asyncio import timeout
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import msgspec
from asgiref.sync import async_to_sync

from proxy import access, calls, catalogue, dialects, listings
from proxy.listings import Listed
from proxy.models import Upstream
from proxy.upstream_errors import refusal
from roocloud.lib import outbound, wire
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.refusals import InvalidInput, Refusal
from roocloud.lib.text import clean_label

_LIST_S = 20
_COMPLETION_S = 60
_MAX_LIST = 2**23
_MAX_ANSWER = 2**20

#: What is looked at, in this order.
ADDRESS, CONNECTION, KEY, MODELS, COMPLETION = (
    "Address", "Connection", "Key", "Models", "Completion",
)  # fmt: skip
_STEPS = (ADDRESS, CONNECTION, KEY, MODELS, COMPLETION)


_NO_LIST = "It does not list its models. Give them with create_model, or in the admin."


class NotReached(Refusal):
    """An upstream did not tell what it was asked. step: how far that went."""

    status, code = 502, "upstream_failed"

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True, slots=True)
class Step:
    """state: good, bad, or open for what was not come to."""

    name: str
    state: str
    said: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a test found. listed: the models, as far as it came."""

    steps: tuple[Step, ...]
    listed: tuple[Listed, ...] = ()

    @property
    def is_good(self) -> bool:
        return all(step.state != "bad" for step in self.steps)

    @property
    def proves_key(self) -> bool:
        return any(step.name == KEY and step.state == "good" for step in self.steps)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    location: str
    took_ms: int


def models_of(upstream: Upstream) -> list[Listed]:
    """What the upstream lists. Blocks up to 20 s. Raises NotReached."""
    if not dialects.of(upstream).models_url(upstream.base_url):
        raise NotReached(MODELS, _NO_LIST)
    return _listed(upstream, _fetched_list(upstream))


def examine(upstream: Upstream, *, model: str = "") -> Report:
    """Whether the upstream can be used, step by step, in words. Blocks up to 80 s.

    model: the upstream's id of one that shall complete a single token.
    """
    said: dict[str, Step] = {}
    listed: list[Listed] = []
    try:
        answer = _fetched_list(upstream)
        _good(said, ADDRESS, _address_words(upstream))
        _good(said, CONNECTION, _connected(upstream, answer))
        if dialects.of(upstream).models_url(upstream.base_url):
            listed = _listed(upstream, answer)
            _good(said, KEY, _key_words(upstream))
            _good(said, MODELS, f"It lists {len(listed)} models.")
        else:
            said[MODELS] = Step(MODELS, "open", _NO_LIST)
            _secret(upstream)
            said[KEY] = _unproven(upstream)
    except NotReached as fault:
        said[fault.step] = Step(fault.step, "bad", fault.message)
        if fault.step == CONNECTION:
            _good(said, ADDRESS, _address_words(upstream))
    # One without a list may complete all the same.
    stops = {ADDRESS, CONNECTION, KEY} & {
        name for name, step in said.items() if step.state == "bad"
    }
    if model and not stops:
        try:
            _good(said, COMPLETION, _complete(upstream, model))
            _good(said, KEY, "The key is accepted.")
        except NotReached as fault:
            said[fault.step] = Step(fault.step, "bad", fault.message)
    steps = tuple(said.get(name, Step(name, "open", "Not tried.")) for name in _STEPS)
    return Report(steps, tuple(listed))


def _good(said: dict[str, Step], name: str, words: str) -> None:
    said[name] = Step(name, "good", words)


def _address_words(upstream: Upstream) -> str:
    return f"{urlsplit(upstream.base_url).hostname} may be connected to."


def _connected(upstream: Upstream, answer: _Answer) -> str:
    how = "over TLS" if upstream.base_url.startswith("https:") else "without encryption"
    return f"It answered {how} after {answer.took_ms} ms."


def _key_words(upstream: Upstream) -> str:
    if listings.provider_at(upstream.base_url) == "openrouter":
        return "OpenRouter shows its list to everybody; only a completion proves the key."
    return "The key is accepted."


def _unproven(upstream: Upstream) -> Step:
    """Of a key that no list was shown for."""
    if dialects.of(upstream).trades_key:
        return Step(KEY, "open", "It gives access tokens. Name a model to see what they open.")
    return Step(KEY, "open", "Only a completion proves the key. Name a model below.")


def _fetched_list(upstream: Upstream) -> _Answer:
    """Whatever it answers. Where there is no list, whatever is at its address, which is asked
    without the key. Raises NotReached."""
    url = dialects.of(upstream).models_url(upstream.base_url)
    return _ask(
        upstream,
        "GET",
        url or upstream.base_url,
        shows_key=url is not None,
        limit_s=_LIST_S,
        most=_MAX_LIST,
    )


def _listed(upstream: Upstream, answer: _Answer) -> list[Listed]:
    url = dialects.of(upstream).models_url(upstream.base_url)
    if answer.status in (401, 403):
        raise NotReached(KEY, "The key is not accepted. Give the upstream another one.")
    if answer.status in (404, 405):
        is_odd = upstream.kind == Upstream.Kind.OPENAI and not upstream.base_url.endswith("/v1")
        hint = " Most addresses end in /v1." if is_odd else ""
        raise NotReached(MODELS, f"There is no list of models at {url}.{hint}")
    if 300 <= answer.status < 400:
        target = clean_label(answer.location, 200) or "another place"
        raise NotReached(
            CONNECTION,
            f"It sends to {target}, and redirects are never followed. Give that address.",
        )
    if answer.status == 429:
        raise NotReached(MODELS, "It limits the rate of requests just now. Try again later.")
    if answer.status != 200:
        raise NotReached(MODELS, f"It answered {answer.status} to {url}. Try again later.")
    try:
        return listings.read_list(wire.loads(answer.body))
    except InvalidInput:
        raise NotReached(
            MODELS, f"What is at {url} is no list of models. Check the path of the address."
        ) from None


def _complete(upstream: Upstream, model: str) -> str:
    """What came of one token. Raises NotReached."""
    dialect = dialects.of(upstream)
    asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    try:
        call = calls.read(wire.dumps(asked).encode())
        question = b"".join(dialect.body(call, catalogue.way(upstream, model), most=1))
    except InvalidInput as fault:
        raise NotReached(COMPLETION, f"{fault.field}: {fault.message}") from fault
    url = dialect.url(upstream.base_url, model=model, is_stream=False)
    answer = _ask(upstream, "POST", url, body=question, limit_s=_COMPLETION_S, most=_MAX_ANSWER)
    if answer.status != 200:
        refused = refusal(upstream.name, answer.status, answer.body, retry_after=None)
        step = KEY if answer.status in (401, 403) else COMPLETION
        words = refused.message.replace(upstream.api_key(), "…")
        raise NotReached(step, f"{clean_label(model, 100)} refused: {words}")
    try:
        completion = wire.read(dialect.answer(answer.body, created=0), _Completion)
    except (InvalidInput, ValueError):
        completion = _Completion()
    if not completion.choices:
        raise NotReached(COMPLETION, "It answered with something else than a completion.")
    return f"{clean_label(model, 100)} answered after {answer.took_ms} ms. It was not charged here."


class _Completion(msgspec.Struct):
    choices: list[dict[str, object]] = []


def _ask(
    upstream: Upstream,
    method: str,
    url: str,
    *,
    body: bytes = b"",
    shows_key: bool = True,
    limit_s: float,
    most: int,
) -> _Answer:
    """Raises NotReached."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    try:
        if shows_key:
            headers |= dialects.of(upstream).headers(_secret(upstream), url=url, body=[body])
        return async_to_sync(_asked)(method, url, headers, body, limit_s=limit_s, most=most)
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        raise _not_reached(upstream, fault, limit_s) from fault


def _secret(upstream: Upstream) -> str:
    """What its headers are made of. Raises NotReached."""
    try:
        key = upstream.api_key()
        return async_to_sync(access.secret_for)(dialects.of(upstream), key, upstream=upstream.name)
    except CannotUnseal:
        raise NotReached(
            KEY, "This server cannot read the stored key. Give the upstream its key again."
        ) from None
    except access.NoAccess as fault:
        raise NotReached(KEY, fault.reason) from fault


async def _asked(
    method: str, url: str, headers: dict[str, str], body: bytes, *, limit_s: float, most: int
) -> _Answer:
    began = time.monotonic()
    async with (
        timeout(limit_s),
        outbound.errand() as session,
        session.request(
            method, url, headers=headers, data=body or None, allow_redirects=False
        ) as response,
    ):
        received = bytearray()
        while len(received) <= most and (piece := await response.content.readany()):
            received += piece
        took_ms = round((time.monotonic() - began) * 1000)
        location = response.headers.get("Location", "")
        return _Answer(response.status, bytes(received[: most + 1]), location, took_ms)


def _not_reached(upstream: Upstream, fault: Exception, limit_s: float) -> NotReached:
    parts = urlsplit(upstream.base_url)
    host = parts.hostname or ""
    where = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    causes: Sequence[BaseException | None] = (fault, getattr(fault, "os_error", None))
    if any(isinstance(cause, outbound.ForbiddenAddress) for cause in causes):
        return NotReached(
            ADDRESS,
            f"{host} is inside a private network, to which this server does not connect. If that "
            "is meant, name the network in ROOCLOUD_INTERNAL_NETWORKS.",
        )
    if isinstance(fault, aiohttp.ClientConnectorDNSError):
        return NotReached(ADDRESS, f"No address is known for {host}. Check how it is written.")
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        error = fault.certificate_error
        why = getattr(error, "verify_message", "") or "it cannot be verified"
        return NotReached(CONNECTION, f"The certificate of {host} is not trusted: {why}.")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return NotReached(CONNECTION, f"{where} does not speak TLS. Is it meant to be http://?")
    if isinstance(fault, TimeoutError):
        return NotReached(CONNECTION, f"{where} did not answer within {limit_s:.0f} s.")
    if isinstance(fault, aiohttp.ClientConnectorError):
        return NotReached(CONNECTION, f"Nothing answers at {where}. Does the server run there?")
    return NotReached(CONNECTION, f"{where} broke off, or does not speak HTTP.")
