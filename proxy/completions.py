"""All that is completed under ``/proxy/v1``: plain ASGI, because it waits long and carries much.

It reads as its contract: identify, read, order, admit, relay, settle. Database work is done in
batches on the bounded pool, so an open stream holds no connection.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import aiohttp
from django.conf import settings
from django.utils import timezone

from proxy import (
    admission,
    demo,
    dialects,
    gate,
    images,
    limits,
    metrics,
    running,
    upstreams,
)
from proxy.admission import Admitted, Order, Result
from proxy.caller import App, Client, ClientGone, Receive, Scope, Send
from proxy.calls import EMBEDDINGS, IMAGES, Call, Endpoint
from proxy.catalogue import Way
from proxy.limits import Taken
from proxy.meter import StreamMeter, meter_answer, meter_embeddings, meter_images, with_cost
from proxy.models import Completion, LanguageModel
from proxy.pricing import NO_USAGE, Usage
from proxy.running import Running
from proxy.upstream_errors import UpstreamRefused, refusal
from proxy.upstreams import Attempts
from roocloud.lib.batches import Batches
from roocloud.lib.limits import Lease
from roocloud.lib.refusals import Refusal, TooLarge
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)

_MAX_ANSWER = 64 * 2**20
#: A request beyond this is parsed beside the event loop.
_LARGE = 2**18
_KEEP_ALIVE = b": keep-alive\n\n"
#: Seconds between two tries to write a settlement down, while this process lives.
_SETTLE_AGAIN_S = (0.1, 0.5, 2, 5, 10, 20, 30, 60, 60, 60)


async def _admit(orders: Sequence[Order]) -> Sequence[Admitted | Exception]:
    return await run_db(admission.admit, orders)


async def _charge(results: Sequence[Result]) -> Sequence[int]:
    return await run_db(admission.settle, results)


_admissions: Batches[Order, Admitted] = Batches(_admit)
_settlements: Batches[Result, int] = Batches(_charge)


@dataclass(slots=True)
class Outcome:
    """How a call goes, for its one settlement. usage: what is to be charged, and whether that is an
    estimate; asked in the end."""

    started_at: datetime
    leases: Sequence[Lease] = ()
    status: str = Completion.Status.FAILED
    usage: Callable[[], tuple[Usage, bool]] = lambda: (NO_USAGE, False)
    error: str = ""
    attempts: Attempts = field(default_factory=Attempts)
    first_byte_ms: int | None = None

    def note_first_byte(self) -> None:
        if self.first_byte_ms is None:
            elapsed = timezone.now() - self.started_at
            self.first_byte_ms = int(elapsed.total_seconds() * 1000)


def application(endpoint: Endpoint) -> App:
    """The route of an endpoint; what differs between them is theirs, the pipeline is one (PX7)."""
    return partial(_answer, endpoint)


async def _answer(endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
    client = Client(receive, send)
    try:
        await _serve(endpoint, scope, client)
    except ClientGone:
        return
    except TooLarge:
        raise  # the entry counts, and answers
    except Refusal as refused:
        await client.refuse(refused)
    except TimeoutError:
        await client.refuse(UpstreamRefused(408, "timeout", "The request did not arrive in time"))
    except Exception:
        logger.exception("A completion failed")
        message = "This server cannot answer right now"
        await client.refuse(UpstreamRefused(503, "unavailable", message, retry_after_s=5))


async def _serve(endpoint: Endpoint, scope: Scope, client: Client) -> None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    at = timezone.now()
    try:
        if scope["method"] != "POST":
            raise UpstreamRefused(405, "method_not_allowed", "Use POST")
        peer, _ = scope.get("client") or ("", 0)
        actor = await gate.identify(headers, peer=peer, at=at)
    except Refusal:
        await client.discard_body()
        raise
    call = await _read_call(endpoint, await client.body())
    order = await gate.order(actor, call, task_id=headers.get(b"x-roo-task-id", ""), at=at)
    taken = await limits.take(order)
    client.extra_headers = taken.headers
    try:
        await _complete(await _admissions.submit(order), taken, client)
    finally:
        await limits.give_back(taken)


async def _complete(admitted: Admitted, taken: Taken, client: Client) -> None:
    outcome = Outcome(started_at=admitted.order.at, leases=taken.leases)
    try:
        await _relay(admitted, outcome, client)
    except asyncio.CancelledError:  # the process ends
        if outcome.status != Completion.Status.DONE:
            outcome.status = Completion.Status.CUT
        raise
    finally:
        # Every way out passes here. What the upstream made is paid for, also when the client hung
        # up; the shield keeps a cancellation from cancelling the charge.
        await asyncio.shield(_settle(admitted, outcome))


async def _read_call(endpoint: Endpoint, body: bytes) -> Call:
    if len(body) <= _LARGE:
        return endpoint.read(body)
    return await asyncio.to_thread(endpoint.read, body)


async def _settle(admitted: Admitted, outcome: Outcome) -> None:
    usage, is_estimated = outcome.usage()
    result = Result(
        admitted=admitted,
        status=outcome.status,
        usage=usage,
        is_estimated=is_estimated,
        error=outcome.error,
        upstream=outcome.attempts.upstream or demo.UPSTREAM_NAME,
        attempts=outcome.attempts.failed,
        first_byte_ms=outcome.first_byte_ms,
        at=timezone.now(),
    )
    for wait_s in (*_SETTLE_AGAIN_S, None):
        try:
            cost_nanos = await _settlements.submit(result)
        except Exception:
            logger.exception(
                "A completion was not settled", extra={"completion": admitted.completion_id}
            )
        else:
            metrics.count(result, cost_nanos)
            return
        if wait_s is None:
            return  # the hold stands, and the sweep settles it at what was last saved
        await asyncio.sleep(wait_s)


# --- Relaying ---------------------------------------------------------------------------------


async def _relay(admitted: Admitted, outcome: Outcome, client: Client) -> None:
    """Answer within the lifetime of a completion. Raises what refuses before the first byte."""
    lifetime_s = settings.ROOCLOUD_COMPLETION_LIFETIME.total_seconds()
    refused: Refusal
    try:
        async with asyncio.timeout(lifetime_s):
            if admitted.order.call.is_stream:
                await _stream(admitted, outcome, client)
            else:
                await _whole(admitted, outcome, client)
    except TimeoutError:
        refused = UpstreamRefused(504, "upstream_timeout", "The answer took too long")
    except Refusal as fault:
        refused = fault
    else:
        return
    outcome.error = refused.code
    await client.refuse(refused)


async def _whole(admitted: Admitted, outcome: Outcome, client: Client) -> None:
    """An answer in one piece. It is awaited to its end also if the client hangs up meanwhile: the
    upstream makes it all the same, and only its end says what it came to (C5)."""
    call = Running(admitted, outcome.leases, usage=lambda: outcome.usage()[0])
    running.begin(call)
    try:
        way, body = await _whole_body(admitted, outcome)
        body, usage, is_estimated = _metered(admitted, body)
        outcome.usage = lambda: (usage, is_estimated)
        if way and admitted.order.call.endpoint is IMAGES:
            # It may fail. What the upstream made is to be paid for all the same.
            body = await images.deliverable(
                body,
                upstream=way.upstream,
                base_url=way.base_url,
                most=admitted.order.call.choices,
            )
    finally:
        running.end(call)
    outcome.status = Completion.Status.DONE
    upstream = outcome.attempts.upstream.encode("ascii", "replace")
    await client.send_json(200, body, [(b"x-roocloud-upstream", upstream)])


def _metered(admitted: Admitted, body: bytes) -> tuple[bytes, Usage, bool]:
    """The answer, with its cost if editors look for it there; what to charge; whether that is an
    estimate."""
    endpoint, prompt = admitted.order.call.endpoint, admitted.prompt_tokens
    if endpoint is EMBEDDINGS:
        return body, *meter_embeddings(body, prompt_tokens=prompt)
    if admitted.order.offer.kind != LanguageModel.Kind.IMAGE:
        return meter_answer(body, admitted.cost_nanos, prompt_tokens=prompt)
    usage, is_estimated = meter_images(body, admitted.order.price.rates, prompt_tokens=prompt)
    if endpoint is not IMAGES:
        body = with_cost(body, admitted.cost_nanos(usage))
    return body, usage, is_estimated


async def _whole_body(admitted: Admitted, outcome: Outcome) -> tuple[Way | None, bytes]:
    """The way that answered, none for the demo, and its answer. Raises UpstreamRefused."""
    if not admitted.order.ways:
        created, call = _now_s(), admitted.order.call
        return None, demo.answer(call, completion_id=admitted.completion_id, created=created)
    parts, size = [], 0
    async with upstreams.answer(admitted, outcome.attempts) as (way, response):
        try:
            async for data in response.content.iter_any():
                outcome.note_first_byte()
                parts.append(data)
                size += len(data)
                if size > _MAX_ANSWER:
                    raise UpstreamRefused(502, "upstream_failed", "The answer is too large")
        except (aiohttp.ClientError, TimeoutError) as fault:
            message = f"The upstream {way.upstream} broke off"
            raise UpstreamRefused(502, "upstream_failed", message) from fault
    body = b"".join(parts)
    try:
        return way, dialects.of(way).answer(body, created=_now_s())
    except ValueError as fault:
        message = f"The upstream {way.upstream} gave an answer that cannot be read"
        raise UpstreamRefused(502, "upstream_failed", message) from fault


async def _stream(admitted: Admitted, outcome: Outcome, client: Client) -> None:
    """A streamed answer: headers, then the upstream's bytes as they come. Whoever ends first, the
    answer or the client, ends the other."""
    meter = StreamMeter(admitted.cost_nanos, prompt_tokens=admitted.prompt_tokens)
    outcome.usage = meter.usage

    async def keep_alive() -> None:
        await client.begin_stream(outcome.attempts.upstream)
        await client.write(_KEEP_ALIVE)

    call = Running(admitted, outcome.leases, usage=lambda: meter.usage()[0], keep_alive=keep_alive)
    running.begin(call)
    loop = asyncio.get_running_loop()
    try:
        async with _WhileConnected(client) as connection:
            async with aclosing(_events(admitted, outcome)) as source:
                async for data in source:
                    outcome.note_first_byte()
                    if passing := meter.feed(data):
                        call.written_at = loop.time()
                        await client.begin_stream(outcome.attempts.upstream)
                        await client.write(passing)
            await client.begin_stream(outcome.attempts.upstream)
            await client.end_stream(meter.finish())
    finally:
        running.end(call)
        if meter.complete:  # also for a client that left at the last event
            outcome.status = Completion.Status.FAILED if meter.failed else Completion.Status.DONE
    if connection.is_lost and not meter.complete:
        outcome.status = Completion.Status.CUT


class _WhileConnected:
    """Leaves its block as soon as the client is gone. is_lost: whether that happened."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.is_lost = False

    async def __aenter__(self) -> "_WhileConnected":
        self._block: asyncio.Task[Any] | None = asyncio.current_task()
        self._watch = asyncio.create_task(self._wait())
        return self

    async def _wait(self) -> None:
        await self._client.gone()
        self.is_lost = True
        if self._block is not None:
            self._block.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        block, self._block = self._block, None
        self._watch.cancel()
        if self.is_lost and block is not None and block.cancelling():
            block.uncancel()
            return kind is asyncio.CancelledError
        return False


async def _events(admitted: Admitted, outcome: Outcome) -> AsyncGenerator[bytes, None]:
    """The upstream's bytes. Raises UpstreamRefused."""
    if not admitted.order.ways:
        source = demo.stream(
            admitted.order.call, completion_id=admitted.completion_id, created=_now_s()
        )
        async for data in source:
            yield data
        return
    loop = asyncio.get_running_loop()
    async with upstreams.answer(admitted, outcome.attempts) as (way, response):
        name = way.upstream
        if response.content_type != "text/event-stream":
            body = await response.content.read(2**16)
            raise refusal(name, 502, body, retry_after=None)
        translator = dialects.of(way).stream(created=_now_s())
        try:
            async with asyncio.timeout(way.idle_timeout_s) as idle:
                async for data in response.content.iter_any():
                    idle.reschedule(None)  # the client's pace is not the upstream's
                    yield translator.feed(data)
                    idle.reschedule(loop.time() + way.idle_timeout_s)
        except (aiohttp.ClientError, TimeoutError) as fault:
            message = f"The upstream {name} broke off"
            raise UpstreamRefused(502, "upstream_failed", message) from fault
        if rest := translator.finish():
            yield rest


def _now_s() -> int:
    return int(timezone.now().timestamp())
