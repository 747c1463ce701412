"""Talking to upstreams: the ways are tried in order until one begins to answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO

import aiohttp

from proxy import access, dialects
from proxy.admission import Admitted
from proxy.calls import CHAT, Call
from proxy.catalogue import Way
from proxy.dialects import Translator
from proxy.routing import breaker, in_order
from proxy.upstream_errors import UpstreamRefused, refusal, refusal_in, refusal_instead
from roocloud.lib import outbound

#: How many requests one call may cause; clients repeat failed calls themselves (PX3).
MAX_ATTEMPTS = 3
#: Bytes up to which a request is sent in one piece.
_SMALL = 2**16
#: Bytes of messages beyond which a body is rewritten, and signed, beside the event loop.
_LARGE = 2**18
_MAX_ERROR = 2**16
_MAX_ANSWER = 64 * 2**20
_ERROR_S = 10
#: Bytes of a stream among which its first event is looked for.
_MAX_HEAD = 2**20


class Attempts:
    """What was tried for a call. failed: [{"upstream", "error"}]; upstream: the last one tried."""

    def __init__(self) -> None:
        self.upstream = ""
        self.failed: list[dict[str, str]] = []


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a stream, one that has begun: head is what came up to its first event, as clients read
    it, and the translator goes on from there. Of another, its whole body."""

    way: Way
    response: aiohttp.ClientResponse
    translator: Translator
    head: bytes = b""
    body: bytes = b""


@asynccontextmanager
async def answer(
    admitted: Admitted, attempts: Attempts, note_first_byte: Callable[[], None]
) -> AsyncIterator[Answer]:
    """The first upstream's good answer; leaving the context cuts the upstream off.

    What fails for reasons of its own (no connection, 429, 5xx, an error in place of an answer or of
    a stream's first event) is followed by the next way, before the first byte alone. Raises
    UpstreamRefused as the last one refused.
    """
    order = admitted.order
    ways = in_order(order.ways, key=order.task_id or order.actor.user_id)
    if len(ways) == 1:
        ways *= 2  # a connection that cannot be made is tried once more
    refused: UpstreamRefused | None = None
    for number, way in enumerate(ways[:MAX_ATTEMPTS]):
        if number and way is ways[number - 1] and not isinstance(refused, _NoConnection):
            break
        attempts.upstream = way.upstream
        try:
            begun = await _ask(admitted, way, note_first_byte)
        except UpstreamRefused as fault:
            refused = fault
            attempts.failed.append({"upstream": way.upstream, "error": fault.code})
            if not fault.is_passing:
                break
            continue
        try:
            yield begun
        finally:
            begun.response.close()
        return
    raise refused or UpstreamRefused(503, "unavailable", "No upstream is left to try")


class _NoConnection(UpstreamRefused):
    """Nothing was sent."""

    is_passing = True


class _Unspoken(UpstreamRefused):
    """Nothing was sent, because this kind of upstream has no such endpoint."""

    is_passing = True


class _BrokeOff(UpstreamRefused):
    """It may have begun to work: not asked again, but another may be."""

    is_passing = True


class _Silent(UpstreamRefused):
    """It may be at work, and nobody has waited longer: another is asked in its place."""

    is_passing = True


async def _ask(admitted: Admitted, way: Way, note_first_byte: Callable[[], None]) -> Answer:
    """Raises UpstreamRefused, and InvalidInput for a call that this kind of upstream cannot be
    asked."""
    name = way.upstream
    if way.api_key is None:
        raise UpstreamRefused(
            502,
            "upstream_auth_failed",
            f"This server cannot read its key for the upstream {name}. Tell an administrator.",
        )
    if dialects.of(way).chat_only and admitted.order.call.endpoint is not CHAT:
        path = admitted.order.call.endpoint.path
        raise _Unspoken(502, "upstream_failed", f"The upstream {name} has no {path}")
    pieces = await _body(admitted, way)
    breaker.begin(way.upstream_id, now=time.monotonic())
    try:
        async with asyncio.timeout(way.first_byte_timeout_s):
            response = await _post(way, way.api_key, pieces, admitted.order.call)
            begun = await _begin(way, response, admitted.order.call)
        if begun is None:
            raise await _refusal(name, response)
        if admitted.order.call.is_stream:
            note_first_byte()
        else:
            begun = replace(begun, body=await _whole(begun, note_first_byte))
        breaker.succeeded(way.upstream_id)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
        breaker.failed(way.upstream_id, now=time.monotonic())
        raise _NoConnection(
            502, "upstream_failed", f"The upstream {name} cannot be reached"
        ) from fault
    except TimeoutError as fault:
        breaker.failed(way.upstream_id, now=time.monotonic())
        raise _Silent(
            504, "upstream_timeout", f"The upstream {name} did not answer in time"
        ) from fault
    except (aiohttp.ClientError, OSError) as fault:
        breaker.failed(way.upstream_id, now=time.monotonic())
        raise _BrokeOff(502, "upstream_failed", f"The upstream {name} broke off") from fault
    except UpstreamRefused as fault:
        if fault.is_passing:
            breaker.failed(way.upstream_id, now=time.monotonic())
        else:
            breaker.succeeded(way.upstream_id)
        raise
    return begun


async def _begin(way: Way, response: aiohttp.ClientResponse, call: Call) -> Answer | None:
    """None for a status other than 200. Raises UpstreamRefused."""
    if response.status != 200:
        return None
    dialect = dialects.of(way)
    translator = dialect.stream(created=int(time.time()))
    if not call.is_stream:
        return Answer(way, response, translator)
    try:
        if response.content_type == dialect.stream_type:
            return Answer(way, response, translator, await _head(way, response, translator))
        refused = await _refusal(way.upstream, response, status=502)
    except BaseException:
        response.close()
        raise
    raise refused


async def _whole(begun: Answer, note_first_byte: Callable[[], None]) -> bytes:
    """The body of an answer in one piece. Some upstreams send their errors so, under 200. Raises
    UpstreamRefused."""
    name, response, parts, size = begun.way.upstream, begun.response, [], 0
    try:
        async for data in response.content.iter_any():
            note_first_byte()
            parts.append(data)
            size += len(data)
            if size > _MAX_ANSWER:
                raise UpstreamRefused(502, "upstream_failed", "The answer is too large")
        body = b"".join(parts)
        wait = response.headers.get("Retry-After")
        if size <= _MAX_ERROR and (refused := refusal_instead(body, name, retry_after=wait)):
            raise refused
    except (aiohttp.ClientError, TimeoutError) as fault:
        raise UpstreamRefused(502, "upstream_failed", f"The upstream {name} broke off") from fault
    finally:
        response.close()
    return body


async def _head(way: Way, response: aiohttp.ClientResponse, translator: Translator) -> bytes:
    """What comes of a stream up to its first event. Nothing has gone to the client by then, so an
    error in its place is a refusal like any other (PX2). Raises UpstreamRefused."""
    head = event = b""
    while not event and len(head) < _MAX_HEAD:
        if data := await response.content.readany():
            head += translator.feed(data)
            event = _first_event(head[: head.rfind(b"\n") + 1])
            continue
        head += translator.finish()
        event = _first_event(head)
        if not event:
            message = f"The upstream {way.upstream} ended before its answer began"
            raise _BrokeOff(502, "upstream_failed", message)
    wait = response.headers.get("Retry-After")
    if refused := refusal_in(event, way.upstream, retry_after=wait):
        raise refused
    return head


def _first_event(lines: bytes) -> bytes:
    """The payload of the first event among the lines; nothing if there is none."""
    payloads = (line[5:].strip() for line in BytesIO(lines) if line.startswith(b"data:"))
    return next((payload for payload in payloads if payload), b"")


async def _body(admitted: Admitted, way: Way) -> Sequence[bytes | memoryview]:
    call, dialect = admitted.order.call, dialects.of(way)
    most = admitted.order.offer.max_tokens
    if dialect.rewrites and len(memoryview(call.fields[call.endpoint.source])) > _LARGE:
        return await asyncio.to_thread(dialect.body, call, way, most=most)
    return dialect.body(call, way, most=most)


async def _post(
    way: Way, api_key: str, pieces: Sequence[bytes | memoryview], call: Call
) -> aiohttp.ClientResponse:
    """A token that is refused before its time is fetched anew, once. Raises NoAccess."""
    dialect = dialects.of(way)
    secret = await access.secret_for(dialect, api_key, upstream=way.upstream)
    response = await _send(way, secret, pieces, call)
    if response.status == 401 and access.renewable(dialect, api_key, secret):
        response.close()
        secret = await access.secret_for(dialect, api_key, upstream=way.upstream)
        response = await _send(way, secret, pieces, call)
    return response


async def _send(
    way: Way, secret: str, pieces: Sequence[bytes | memoryview], call: Call
) -> aiohttp.ClientResponse:
    dialect = dialects.of(way)
    size = sum(map(len, pieces))
    url = dialect.url(
        way.base_url, endpoint=call.endpoint, model=way.model, is_stream=call.is_stream
    )
    prove = partial(dialect.headers, secret, url=url, body=pieces)
    headers = {
        **(await asyncio.to_thread(prove) if dialect.signs and size > _LARGE else prove()),
        "Content-Type": "application/json",
        "Content-Length": str(size),
        "Accept": dialect.stream_type if call.is_stream else "application/json",
        "Accept-Encoding": "identity",
    }
    return await outbound.session().post(
        url,
        data=b"".join(pieces) if size <= _SMALL else _sent(pieces),
        headers=headers,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(
            total=None,
            sock_connect=outbound.CONNECT_S,
            # Who reads a stream times it.
            sock_read=None if call.is_stream else way.first_byte_timeout_s,
        ),
    )


async def _sent(pieces: Sequence[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for piece in pieces:
        yield piece


async def _refusal(
    name: str, response: aiohttp.ClientResponse, *, status: int | None = None
) -> UpstreamRefused:
    """status: what to make of it, where its own does not say."""
    body = b""
    try:
        async with asyncio.timeout(_ERROR_S):
            while len(body) < _MAX_ERROR and (piece := await response.content.readany()):
                body += piece
    except (aiohttp.ClientError, TimeoutError):
        pass  # the status says enough
    response.close()
    wait = response.headers.get("Retry-After")
    return refusal(name, status or response.status, body, retry_after=wait)
