"""Talking to upstreams: the ways are tried in order until one begins to answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from proxy import dialects
from proxy.admission import Admitted
from proxy.calls import CHAT, Call
from proxy.catalogue import Way
from proxy.routing import breaker, in_order
from proxy.upstream_errors import UpstreamRefused, refusal
from roocloud.lib import outbound

#: How many requests one call may cause; clients repeat failed calls themselves (PX3).
MAX_ATTEMPTS = 3
#: Bytes up to which a request is sent in one piece.
_SMALL = 2**16
#: Bytes of messages beyond which a body is rewritten beside the event loop.
_LARGE = 2**18
_MAX_ERROR = 2**16
_ERROR_S = 10


class Attempts:
    """What was tried for a call. failed: [{"upstream", "error"}]; upstream: the last one tried."""

    def __init__(self) -> None:
        self.upstream = ""
        self.failed: list[dict[str, str]] = []


@asynccontextmanager
async def answer(
    admitted: Admitted, attempts: Attempts
) -> AsyncIterator[tuple[Way, aiohttp.ClientResponse]]:
    """The first upstream's good answer; leaving the context cuts the upstream off.

    What fails for reasons of its own (no connection, 429, 5xx) is followed by the next way, before
    the first byte alone. Raises UpstreamRefused as the last one refused.
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
            response = await _ask(admitted, way)
        except UpstreamRefused as fault:
            refused = fault
            attempts.failed.append({"upstream": way.upstream, "error": fault.code})
            if not fault.is_passing:
                break
            continue
        try:
            yield way, response
        finally:
            response.close()
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


async def _ask(admitted: Admitted, way: Way) -> aiohttp.ClientResponse:
    """A response with status 200. Raises UpstreamRefused, and InvalidInput for a call that this
    kind of upstream cannot be asked."""
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
        if response.status == 200:
            breaker.succeeded(way.upstream_id)
            return response
        raise await _refusal(name, response)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
        breaker.failed(way.upstream_id, now=time.monotonic())
        raise _NoConnection(
            502, "upstream_failed", f"The upstream {name} cannot be reached"
        ) from fault
    except TimeoutError as fault:
        breaker.failed(way.upstream_id, now=time.monotonic())
        raise UpstreamRefused(
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


async def _body(admitted: Admitted, way: Way) -> Sequence[bytes | memoryview]:
    call, dialect = admitted.order.call, dialects.of(way)
    most = admitted.order.offer.max_tokens
    if dialect.rewrites and len(memoryview(call.fields[call.endpoint.source])) > _LARGE:
        return await asyncio.to_thread(dialect.body, call, way, most=most)
    return dialect.body(call, way, most=most)


async def _post(
    way: Way, api_key: str, pieces: Sequence[bytes | memoryview], call: Call
) -> aiohttp.ClientResponse:
    dialect = dialects.of(way)
    size = sum(map(len, pieces))
    headers = {
        **dialect.headers(api_key),
        "Content-Type": "application/json",
        "Content-Length": str(size),
        "Accept": "text/event-stream" if call.is_stream else "application/json",
        "Accept-Encoding": "identity",
    }
    return await outbound.session().post(
        dialect.url(way.base_url, call.endpoint),
        data=b"".join(pieces) if size <= _SMALL else _sent(pieces),
        headers=headers,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=outbound.CONNECT_S, sock_read=way.first_byte_timeout_s
        ),
    )


async def _sent(pieces: Sequence[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for piece in pieces:
        yield piece


async def _refusal(name: str, response: aiohttp.ClientResponse) -> UpstreamRefused:
    body = b""
    try:
        async with asyncio.timeout(_ERROR_S):
            while len(body) < _MAX_ERROR and (piece := await response.content.readany()):
                body += piece
    except (aiohttp.ClientError, TimeoutError):
        pass  # the status says enough
    response.close()
    wait = response.headers.get("Retry-After")
    return refusal(name, response.status, body, retry_after=wait)
