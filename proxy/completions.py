"""``POST /proxy/v1/chat/completions``: plain ASGI, because it waits long and carries much.

It reads as its contract: identify, read, admit, relay, settle. All database work before the first
byte is one call on the bounded pool, so an open stream holds no connection.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from django.conf import settings
from django.utils import timezone

from accounts.bearer import authenticate
from proxy import actions, calls, demo
from proxy.actions import Admitted
from proxy.meter import StreamMeter, meter_answer
from proxy.models import Completion
from proxy.pricing import NO_USAGE, Usage
from proxy.upstream_errors import UpstreamRefused, refusal
from roocloud.lib import outbound
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.refusals import Refusal, Unauthenticated
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Seconds of silence after which a comment keeps the client's connection open (it gives up at 300).
KEEP_ALIVE_S = 15.0
_MAX_ANSWER = 64 * 2**20
_MAX_ERROR = 64 * 2**10
_KEEP_ALIVE = b": keep-alive\n\n"


class ClientGone(Exception):
    """The client closed the connection before its answer was complete."""


@dataclass(slots=True)
class Outcome:
    """How a call ended, for its one settlement."""

    status: str = Completion.Status.FAILED
    usage: Usage = NO_USAGE
    is_estimated: bool = False
    error: str = ""


async def chat_completions(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] != "POST":
        await _send_refusal(send, UpstreamRefused(405, "method_not_allowed", "Use POST"))
        return
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        body = await _read_body(receive)
    except ClientGone:
        return
    try:
        admitted = await run_db(_admit, headers, body)
    except Refusal as refused:
        await _send_refusal(send, refused)
        return
    except CannotUnseal:
        logger.exception("An upstream's key cannot be opened")
        message = "This server cannot read its key for the upstream. Tell an administrator."
        await _send_refusal(send, UpstreamRefused(502, "upstream_auth_failed", message))
        return
    except Exception:
        logger.exception("A completion could not be admitted")
        message = "This server cannot admit requests right now"
        unavailable = UpstreamRefused(503, "unavailable", message, retry_after_s=5)
        await _send_refusal(send, unavailable)
        return
    outcome = Outcome()
    try:
        await _relay(admitted, outcome, receive, send)
    finally:
        # Every way out passes here. What the upstream made is paid for, also when the client hung
        # up; the shield keeps a cancellation from cancelling the charge.
        await asyncio.shield(_settle(admitted, outcome))


async def _read_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _admit(headers: dict[str, str], body: bytes) -> Admitted:
    at = timezone.now()
    try:
        actor = authenticate(headers.get("authorization"), at=at)
    except Unauthenticated as refused:
        raise UpstreamRefused(401, "invalid_token", refused.message) from None
    call = calls.read(body)
    return actions.admit(actor=actor, call=call, task_id=headers.get("x-roo-task-id", ""), at=at)


async def _settle(admitted: Admitted, outcome: Outcome) -> None:
    try:
        await run_db(
            actions.settle,
            admitted=admitted,
            usage=outcome.usage,
            is_estimated=outcome.is_estimated,
            status=outcome.status,
            error=outcome.error,
            at=timezone.now(),
        )
    except Exception:
        # The hold stands, and the sweep settles it.
        logger.exception(
            "A completion was not settled", extra={"completion": admitted.completion_id}
        )


# --- Relaying ---------------------------------------------------------------------------------


async def _relay(admitted: Admitted, outcome: Outcome, receive: Receive, send: Send) -> None:
    """Whoever ends first, the answer or the client, ends the other."""
    work = asyncio.create_task(_answer(admitted, outcome, send))
    gone = asyncio.create_task(_until_gone(receive))
    try:
        async with asyncio.timeout(settings.ROOCLOUD_COMPLETION_LIFETIME.total_seconds() * 0.9):
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        outcome.error = "took too long"
    finally:
        if not work.done():
            outcome.status = Completion.Status.CUT
            work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)
    if not work.cancelled() and (fault := work.exception()):
        raise fault


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(admitted: Admitted, outcome: Outcome, send: Send) -> None:
    answer = _Stream(admitted, outcome, send) if admitted.call.is_stream else None
    try:
        if answer is not None:
            await answer.run()
        else:
            await _whole(admitted, outcome, send)
    except Refusal as refused:
        outcome.error = refused.code
        if answer is not None and answer.started:
            await answer.end_with_error(refused)
        else:
            await _send_refusal(send, refused)


async def _whole(admitted: Admitted, outcome: Outcome, send: Send) -> None:
    if admitted.route is None:
        created = int(timezone.now().timestamp())
        body = demo.answer(admitted.call, completion_id=admitted.completion_id, created=created)
    else:
        async with _open(admitted) as response:
            body = await response.content.read(_MAX_ANSWER + 1)
            while not response.content.at_eof() and len(body) <= _MAX_ANSWER:
                body += await response.content.read(_MAX_ANSWER)
        if len(body) > _MAX_ANSWER:
            raise UpstreamRefused(502, "upstream_failed", "The upstream's answer is too large")
    body, outcome.usage, outcome.is_estimated = meter_answer(
        body, admitted.cost_nanos, prompt_tokens=admitted.prompt_tokens
    )
    outcome.status = Completion.Status.DONE
    await _send_json(send, 200, body)


class _Stream:
    """A streamed answer: headers, then the upstream's bytes as they come."""

    def __init__(self, admitted: Admitted, outcome: Outcome, send: Send) -> None:
        self._admitted = admitted
        self._outcome = outcome
        self._send = send
        self._meter = StreamMeter(admitted.cost_nanos)
        self.started = False

    async def run(self) -> None:
        source = _events(self._admitted)
        pending: asyncio.Task[bytes] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(source))
                done, _ = await asyncio.wait({pending}, timeout=KEEP_ALIVE_S)
                if not done:
                    await self._write(_KEEP_ALIVE)
                    continue
                finished, pending = pending, None
                try:
                    data = finished.result()
                except StopAsyncIteration:
                    break
                await self._write(self._meter.feed(data))
            await self._write(self._meter.finish())
            self._meter.complete = True
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
            await source.aclose()
            if self._meter.complete:  # also for a client that left at the last event
                failed = self._meter.failed
                self._outcome.status = (
                    Completion.Status.FAILED if failed else Completion.Status.DONE
                )
            self._outcome.usage, self._outcome.is_estimated = self._meter.usage(
                prompt_tokens=self._admitted.prompt_tokens
            )

    async def _write(self, data: bytes) -> None:
        if not self.started:
            self.started = True
            await self._send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [
                        (b"content-type", b"text/event-stream; charset=utf-8"),
                        (b"cache-control", b"no-store"),
                        (b"x-accel-buffering", b"no"),
                    ],
                }
            )
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_with_error(self, refused: Refusal) -> None:
        """After the first byte an error is an event (trap 30)."""
        event = b"data: " + json.dumps(_error_body(refused)).encode() + b"\n\n"
        await self._send({"type": "http.response.body", "body": event})


async def _events(admitted: Admitted) -> AsyncGenerator[bytes, None]:
    """The upstream's bytes. Raises UpstreamRefused."""
    if admitted.route is None:
        created = int(timezone.now().timestamp())
        source = demo.stream(admitted.call, completion_id=admitted.completion_id, created=created)
        async for data in source:
            yield data
        return
    async with _open(admitted) as response:
        try:
            async for data in response.content.iter_any():
                yield data
        except (aiohttp.ClientError, TimeoutError) as fault:
            message = f"The upstream {admitted.route.upstream_name} broke off"
            raise UpstreamRefused(502, "upstream_failed", message) from fault


class _open:  # noqa: N801 - reads as a verb where it is used
    """An upstream's good answer, as an async context. Raises UpstreamRefused for any other."""

    def __init__(self, admitted: Admitted) -> None:
        if admitted.route is None:
            raise TypeError("the demo model has no upstream")
        self._route = admitted.route
        self._accept = "text/event-stream" if admitted.call.is_stream else "application/json"
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        name = self._route.upstream_name
        headers = {
            "Authorization": f"Bearer {self._route.api_key}",
            "Content-Type": "application/json",
            "Accept": self._accept,
            "Accept-Encoding": "identity",
        }
        try:
            self._response = await outbound.session().post(
                self._route.url, data=self._route.body, headers=headers, allow_redirects=False
            )
            if self._response.status == 200:
                return self._response
            body = await self._response.content.read(_MAX_ERROR)
        except TimeoutError as fault:
            raise UpstreamRefused(
                504, "upstream_timeout", f"The upstream {name} did not answer in time"
            ) from fault
        except (aiohttp.ClientError, OSError) as fault:
            raise UpstreamRefused(
                502, "upstream_failed", f"The upstream {name} cannot be reached"
            ) from fault
        status, wait = self._response.status, self._response.headers.get("Retry-After")
        self._response.close()
        raise refusal(name, status, body, retry_after=wait)

    async def __aexit__(self, *exc: object) -> None:
        if self._response is not None:
            self._response.close()


# --- Answers ----------------------------------------------------------------------------------


def _error_body(refused: Refusal) -> dict[str, Any]:
    message = f"{refused.field}: {refused.message}" if refused.field else refused.message
    error = {"message": message, "type": refused.code, "code": refused.code}
    return {"error": error | ({"param": refused.field} if refused.field else {})}


async def _send_refusal(send: Send, refused: Refusal) -> None:
    headers = []
    if refused.retry_after_s is not None:
        headers.append((b"retry-after", str(refused.retry_after_s).encode()))
    await _send_json(send, refused.status, json.dumps(_error_body(refused)).encode(), headers)


async def _send_json(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    standard = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    start = {"type": "http.response.start", "status": status, "headers": standard + (headers or [])}
    await send(start)
    await send({"type": "http.response.body", "body": body})
