"""All that is completed under ``/proxy/v1``: plain ASGI, because it waits long and carries much.

It reads as its contract: identify, read, order, admit, relay, settle. Database work is done in
batches on the bounded pool, so an open stream holds no connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import aiohttp
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from proxy import (
    demo,
    dialects,
    gate,
    holds,
    idempotency,
    images,
    limits,
    running,
    settling,
    upstreams,
)
from proxy.admission import Admitted, Order, Result
from proxy.caller import Client, ClientGone, Recording
from proxy.calls import EMBEDDINGS, IMAGES, Endpoint
from proxy.catalogue import Way
from proxy.idempotency import Answer, Claim, Ending
from proxy.limits import Taken
from proxy.meter import StreamMeter, meter_answer, meter_embeddings, meter_images, with_cost
from proxy.models import Completion, LanguageModel, new_completion_id
from proxy.pricing import Usage
from proxy.running import Running
from proxy.transcripts import draft_of
from proxy.upstream_errors import UpstreamRefused
from roocloud.lib.asgi import App, Receive, Scope, Send
from roocloud.lib.refusals import Conflict, Refusal, TooLarge
from roocloud.lib.threads import run_db

T = TypeVar("T")
#: What takes a stream's bytes to the client.
Forward = Callable[[bytes], Awaitable[None]]

logger = logging.getLogger(__name__)

#: A request beyond this is parsed beside the event loop.
_LARGE = 2**18
_KEEP_ALIVE = b": keep-alive\n\n"
#: Seconds into a stream at which its client is first looked after.
_LOOK_AFTER_S = 0.1
#: Seconds that a repeated request waits for the answer of the first, within what clients and their
#: gateways wait; then how much later to ask again; and between two looks.
_WAIT_S = 50
_ASK_AGAIN_S = 10
_LOOK_AGAIN_S, _LOOK_AGAIN_MOST_S = 0.05, 1.0


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
        key = idempotency.key_in(headers)
    except Refusal:
        await client.discard_body()
        raise
    body = await client.body()
    call = await _read(body, endpoint.read)
    order = await gate.order(actor, call, task_id=headers.get(b"x-roo-task-id", ""), at=at)
    completion_id = new_completion_id()
    taken = await limits.take(order, holder=completion_id)
    client.extra_headers = taken.headers
    try:
        if key is None:
            await _complete(await _admit(order, completion_id), taken, client)
        else:
            claim = await _read(body, partial(_claim, order, key, completion_id))
            await _complete_once(order, claim, taken, client)
    finally:
        limits.give_back(taken)


async def _admit(order: Order, completion_id: str) -> Admitted:
    return Admitted(completion_id, await holds.draw(order), order)


async def _complete(admitted: Admitted, taken: Taken, client: Client) -> None:
    run = Running(admitted, taken.leases, draft=draft_of(admitted))
    try:
        await _run(run, client)
    finally:
        # Every way out passes here. What the upstream made is paid for, also when the client hung
        # up.
        settling.settle(_result(run))


async def _run(run: Running, client: Client) -> None:
    running.begin(run)
    try:
        await _relay(run, client)
    except asyncio.CancelledError:  # the process ends
        if run.status != Completion.Status.DONE:
            run.status = Completion.Status.CUT
        raise
    finally:
        running.end(run)


async def _read(body: bytes, read: Callable[[bytes], T]) -> T:
    if len(body) <= _LARGE:
        return read(body)
    return await asyncio.to_thread(read, body)


def _result(run: Running, ending: Ending | None = None) -> Result:
    usage, is_estimated = run.usage()
    return Result(
        admitted=run.admitted,
        status=run.status,
        usage=usage,
        cost_nanos=run.admitted.cost_nanos(usage),
        is_estimated=is_estimated,
        error=run.error,
        upstream=run.upstream,
        attempts=run.attempts.failed,
        first_byte_ms=run.first_byte_ms,
        at=timezone.now(),
        ending=ending,
    )


# --- Repeating --------------------------------------------------------------------------------


def _claim(order: Order, key: str, completion_id: str, body: bytes) -> Claim:
    endpoint = order.call.endpoint
    return idempotency.claim_of(order.actor, endpoint, key, body, completion_id=completion_id)


async def _complete_once(order: Order, claim: Claim, taken: Taken, client: Client) -> None:
    """Answer a request that has a key: its own answer is made to its end and stored, also when the
    client hangs up; that of an earlier one is repeated (C6)."""
    answer = await _earlier_answer(claim, client)
    if answer is not None:
        await client.repeat(answer.status, answer.headers, answer.body)
        return
    recording = client.record(idempotency.MAX_ANSWER)
    try:
        try:
            admitted = await _admit(order, claim.completion_id)
        except Refusal as refused:
            await client.refuse(refused)
            await _release(_ending(claim, recording))
            return
        except BaseException:
            await _release(_ending(claim, recording))
            raise
        run = Running(admitted, taken.leases, claim=claim, draft=draft_of(admitted))
        try:
            await _run(run, client)
        except BaseException:
            settling.settle(_result(run, _ending(claim, recording)))
            raise
        await settling.settle_now(_result(run, _ending(claim, recording)))
    finally:
        await recording.finish()


async def _earlier_answer(claim: Claim, client: Client) -> Answer | None:
    """None for a request that is to be carried out. Raises KeyReused, AnswerGone, Conflict,
    ClientGone."""
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + _WAIT_S, _LOOK_AGAIN_S
    standing = await run_db(idempotency.stand, claim, at=timezone.now())
    while standing.running:
        if loop.time() >= until:
            message = "The first request with this Idempotency-Key has no answer yet"
            raise Conflict(message, retry_after_s=_ASK_AGAIN_S)
        async with _WhileConnected(client) as connection:
            await asyncio.sleep(pause)
        if connection.is_lost:
            raise ClientGone
        pause = min(2 * pause, _LOOK_AGAIN_MOST_S)
        standing = await run_db(
            idempotency.stand, claim, waits_for=standing.running, at=timezone.now()
        )
    return standing.answer


def _ending(claim: Claim, recording: Recording) -> Ending:
    if not recording.is_over:
        return Ending(claim, None)
    body = recording.body
    if body is None:
        return Ending(claim, None, is_too_large=True)
    return Ending(claim, Answer(recording.status, recording.headers, body))


async def _release(ending: Ending) -> None:
    """Of a request that was not admitted. If that fails, its key is free when it seems dead."""
    try:
        await asyncio.shield(run_db(idempotency.release, ending, at=timezone.now()))
    except DatabaseError:
        logger.exception("An idempotency key was not released")


# --- Relaying ---------------------------------------------------------------------------------


async def _relay(run: Running, client: Client) -> None:
    """Answer within the lifetime of a completion. Raises what refuses before the first byte."""
    lifetime_s = settings.ROOCLOUD_COMPLETION_LIFETIME.total_seconds()
    refused: Refusal
    try:
        async with asyncio.timeout(lifetime_s):
            if run.admitted.order.call.is_stream:
                await _stream(run, client)
            else:
                await _whole(run, client)
    except TimeoutError:
        refused = UpstreamRefused(504, "upstream_timeout", "The answer took too long")
    except Refusal as fault:
        refused = fault
    else:
        return
    run.error = refused.code
    await client.refuse(refused)


async def _whole(run: Running, client: Client) -> None:
    """An answer in one piece. It is awaited to its end also if the client hangs up meanwhile: the
    upstream makes it all the same, and only its end says what it came to (C5)."""
    admitted = run.admitted
    way, body = await _whole_body(run)
    body, usage, is_estimated = _metered(admitted, body)
    run.usage = lambda: (usage, is_estimated)
    if way and admitted.order.call.endpoint is IMAGES:
        # It may fail. What the upstream made is to be paid for all the same.
        body = await images.deliverable(
            body,
            upstream=way.upstream,
            base_url=way.base_url,
            most=admitted.order.call.choices,
        )
    run.status = Completion.Status.DONE
    if run.draft:
        run.draft.take(body)
    upstream = run.attempts.upstream.encode("ascii", "replace")
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


async def _whole_body(run: Running) -> tuple[Way | None, bytes]:
    """The way that answered, none for the demo, and its answer. Raises UpstreamRefused."""
    admitted = run.admitted
    if not admitted.order.ways:
        created, call = _now_s(), admitted.order.call
        return None, demo.answer(call, completion_id=admitted.completion_id, created=created)
    async with upstreams.answer(admitted, run.attempts, run.note_first_byte) as answer:
        way = answer.way
    try:
        return way, dialects.of(way).answer(answer.body, created=_now_s())
    except ValueError as fault:
        message = f"The upstream {way.upstream} gave an answer that cannot be read"
        raise UpstreamRefused(502, "upstream_failed", message) from fault


async def _stream(run: Running, client: Client) -> None:
    """A streamed answer: headers, then the upstream's bytes as they come. Whoever ends first, the
    answer or the client, ends the other."""
    meter = StreamMeter(run.admitted.cost_nanos, prompt_tokens=run.admitted.prompt_tokens)
    run.usage = meter.usage

    async def keep_alive() -> None:
        await client.begin_stream(run.attempts.upstream)
        await client.write(_KEEP_ALIVE)

    async def forward(data: bytes) -> None:
        if passing := meter.feed(data):
            if run.draft:
                run.draft.feed(passing)
            run.written_at = loop.time()
            if not client.started:
                await client.begin_stream(run.attempts.upstream)
            await client.write(passing)

    run.keep_alive = keep_alive
    loop = asyncio.get_running_loop()
    try:
        async with _WhileConnected(client) as connection:
            await (_pass_on if run.admitted.order.ways else _demonstrate)(run, forward)
            await client.begin_stream(run.attempts.upstream)
            rest = meter.finish()
            if run.draft:
                run.draft.feed(rest)
            await client.end_stream(rest)
    finally:
        run.keep_alive = None
        if meter.complete:  # also for a client that left at the last event
            run.status = Completion.Status.FAILED if meter.failed else Completion.Status.DONE
    if connection.is_lost and not (meter.complete or meter.failed):
        run.status = Completion.Status.CUT


async def _demonstrate(run: Running, forward: Forward) -> None:
    call, completion_id = run.admitted.order.call, run.admitted.completion_id
    async with aclosing(demo.stream(call, completion_id=completion_id, created=_now_s())) as source:
        async for data in source:
            run.note_first_byte()
            await forward(data)


async def _pass_on(run: Running, forward: Forward) -> None:
    """The upstream's bytes. Raises UpstreamRefused."""
    async with upstreams.answer(run.admitted, run.attempts, run.note_first_byte) as answer:
        translator, content = answer.translator, answer.response.content
        await forward(answer.head)
        try:
            async with _Patience(answer.way.idle_timeout_s) as patience:
                while data := await content.readany():
                    patience.pause()  # the client's pace is not the upstream's
                    await forward(translator.feed(data))
                    patience.wait()
        except (aiohttp.ClientError, TimeoutError) as fault:
            message = f"The upstream {answer.way.upstream} broke off"
            raise UpstreamRefused(502, "upstream_failed", message) from fault
        if rest := translator.finish():
            await forward(rest)


class _Patience:
    """Ends its block with TimeoutError once it has waited for so many seconds at a stretch. A
    stretch costs no timer of its own: one looks again when the last could be over."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._is_over = False

    async def __aenter__(self) -> "_Patience":
        self._loop = asyncio.get_running_loop()
        self._block: asyncio.Task[Any] | None = asyncio.current_task()
        self._timer = self._loop.call_later(self._limit_s, self._look)
        self.wait()
        return self

    def wait(self) -> None:
        self._waits_since: float | None = self._loop.time()

    def pause(self) -> None:
        self._waits_since = None

    def _look(self) -> None:
        now = self._loop.time()
        left = self._limit_s - (now - (self._waits_since or now))
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        elif self._block is not None:
            self._is_over = True
            self._block.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._is_over and self._block is not None and self._block.uncancel() == 0:
            raise TimeoutError


class _WhileConnected:
    """Leaves its block when the client is gone. is_lost: whether that happened. Most answers end
    before anybody looks."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.is_lost = False

    async def __aenter__(self) -> "_WhileConnected":
        self._block: asyncio.Task[Any] | None = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_LOOK_AFTER_S, self._begin)
        return self

    def _begin(self) -> None:
        self._watch = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        await self._client.gone()
        self.is_lost = True
        if self._block is not None:
            self._block.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        block, self._block = self._block, None
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self.is_lost and block is not None and block.cancelling():
            block.uncancel()
            return kind is asyncio.CancelledError
        return False


def _now_s() -> int:
    return int(timezone.now().timestamp())
