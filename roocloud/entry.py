"""What happens to a request before it is routed, and to the process before its first request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from accounts import bearer, browsers
from roocloud import errors
from roocloud.celery import EmbeddedJobs
from roocloud.lib import limits, outbound
from roocloud.lib.asgi import App, Message, Receive, Scope, Send
from roocloud.lib.paths import canonical, confidential_headers
from roocloud.lib.refusals import Refusal, TooLarge, Unauthenticated, Unavailable
from roocloud.lib.threads import run_db
from roocloud.lib.wire import dumps

logger = logging.getLogger(__name__)


#: Seconds that a client is given to finish a body that was refused.
_DRAIN_S = 10


#: Where browsers, and where editors, send more than is laid on the disk for just anybody.
_UPLOADS = "/tasks/import"
_REPORTS = "/api/events"
#: Seconds that requests cut at shutdown are given to settle what they cost.
_SETTLE_S = 10


class Gate:
    """Which requests are under way, and whether more are let in."""

    def __init__(self) -> None:
        self.is_closed = False
        self._inside: set[int] = set()

    @property
    def is_empty(self) -> bool:
        return not self._inside

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around one request."""
        task = id(asyncio.current_task())
        self._inside.add(task)
        try:
            yield
        finally:
            self._inside.discard(task)

    async def until_empty(self, *, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.is_empty:  # noqa: ASYNC110 - an Event would tie it to one loop
                    await asyncio.sleep(0.05)


_CLOSING = Unavailable("This server is restarting; try again in a moment")
#: Of this process; roocloud.serving closes it at the first signal to end.
gate = Gate()


class BodyTooLarge(TooLarge):
    """More bytes came than the path may take. has_more: and more are on their way."""

    def __init__(self, *, has_more: bool) -> None:
        super().__init__("The request is too large")
        self.has_more = has_more


def body_limit(path: str) -> int:
    """Bytes that a request to a canonical path may bring."""
    if path.startswith("/api/events/backfill"):
        return int(settings.ROOCLOUD_BACKFILL_BODY_LIMIT)
    if path.startswith("/api/events"):
        return int(settings.ROOCLOUD_EVENT_BODY_LIMIT)
    if path.startswith("/proxy/"):
        return int(settings.ROOCLOUD_COMPLETION_BODY_LIMIT)
    if path in ("/socket.io/", "/api/bridge/commands"):  # with images
        return int(settings.ROOCLOUD_EVENT_BODY_LIMIT)
    if path == _UPLOADS:
        return int(settings.ROOCLOUD_IMPORT_BODY_LIMIT)
    return int(settings.ROOCLOUD_BODY_LIMIT)


def entry(app: App) -> App:
    """``app`` behind canonical paths and body limits. A body that grows past its limit is cut off
    with 413 while it arrives, whether or not its length was announced."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        scope, path = _canonical(scope)
        if gate.is_closed:
            await _drain(receive, body_limit(path))
            await _refuse(path, _CLOSING, send)
            return
        with gate.passing():
            await _within_limits(app, scope, path, receive, send)

    return guarded


async def _within_limits(app: App, scope: Scope, path: str, receive: Receive, send: Send) -> None:
    limit = body_limit(path)
    too_large = TooLarge(f"The request is larger than {limit} bytes")
    if refused := await _refusal_unread(scope, path, too_large):
        await _drain(receive, limit)
        await _refuse(path, refused, send)
        return
    if path == _UPLOADS and scope["method"] == "POST" and not await _is_signed_in(scope):
        await _drain(receive, limit)
        scope, receive = _visit(scope, receive)
    received, started = 0, False

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(has_more=message.get("more_body", False))
        return message

    def watched(message: Message) -> Awaitable[None]:
        nonlocal started
        started = True
        return send(message)

    try:
        await app(scope, counted, watched)
    except BodyTooLarge as fault:
        if not started:
            if fault.has_more:
                await _drain(receive, limit)
            await _refuse(path, too_large, send)


async def _refusal_unread(scope: Scope, path: str, too_large: TooLarge) -> Refusal | None:
    """Why none of a body is to be read, as far as the headers say."""
    if _announced_bytes(scope) > body_limit(path):
        return too_large
    if path.startswith(_REPORTS) and _may_be_large(scope):
        return await _refusal_of_token(scope)
    return None


async def _is_signed_in(scope: Scope) -> bool:
    """Whether a browser's session stands, before its body is taken in. Nobody is while the database
    does not answer."""
    cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    person_of = partial(browsers.person_of, cookies.decode("latin-1"), at=timezone.now())
    try:
        return await run_db(person_of) is not None
    except DatabaseError:
        return False


def _may_be_large(scope: Scope) -> bool:
    """Whether more may come than every path takes; how much is not said of a body in chunks."""
    is_chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    return is_chunked or _announced_bytes(scope) > settings.ROOCLOUD_BODY_LIMIT


async def _refusal_of_token(scope: Scope) -> Refusal | None:
    """Why the token that came is not good; None if it is. Of a database that does not answer it is
    no fault of the token: the editor keeps what it has to say for later (D4)."""
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    try:
        await run_db(bearer.authenticate, given.decode("latin-1"), at=timezone.now())
    except Unauthenticated as refused:
        return refused
    except DatabaseError:
        return Unavailable("The database does not answer; try again in a moment")
    return None


def _visit(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request as one that only looks at the page: so Django leads to the sign-in page. Its body
    is gone."""
    sent = (b"content-length", b"content-type", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in sent]
    is_asked = False

    async def nothing() -> Message:
        nonlocal is_asked
        if not is_asked:
            is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass  # what came too late to be drained
        return message

    return {**scope, "method": "GET", "headers": headers}, nothing


def _canonical(scope: Scope) -> tuple[Scope, str]:
    path = canonical(scope["path"])
    if path != scope["path"]:
        scope = {**scope, "path": path, "raw_path": path.encode()}
    return scope, path


def _announced_bytes(scope: Scope) -> int:
    """The Content-Length; zero without one, and for what is no number (the server refuses that)."""
    announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"")
    return int(announced) if announced.isdigit() else 0


async def _drain(receive: Receive, limit: int) -> None:
    """Take in and drop the rest of a body, up to as much again: a client that is still writing
    would lose the answer with the connection."""
    drained, has_more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while has_more and drained <= limit:
                message = await receive()
                drained += len(message.get("body", b""))
                has_more = message.get("more_body", False)


async def _refuse(path: str, refusal: Refusal, send: Send) -> None:
    """Before Django's turn, so in JSON for pages too. The connection ends with it."""
    surface = errors.surface_of(path)
    content = dumps(
        errors.body(surface, status=refusal.status, code=refusal.code, message=refusal.message)
        if surface is not errors.Surface.PAGE
        else {"error": refusal.message}
    ).encode()
    headers = {"Content-Type": "application/json", "Connection": "close"}
    headers |= {**errors.headers(refusal), **confidential_headers(path)}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": content})


class Lifespan:
    """Starts and stops what lives as long as the process. at_end: what else is to be awaited once
    no request is under way."""

    def __init__(self, *, at_end: Sequence[Callable[[], Awaitable[None]]] = ()) -> None:
        self._at_end = at_end
        self._jobs: EmbeddedJobs | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if settings.ROOCLOUD_MODE == "embedded" and not settings.CELERY_TASK_ALWAYS_EAGER:
                    self._jobs = EmbeddedJobs()
                    self._jobs.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await gate.until_empty(timeout_s=_SETTLE_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SETTLE_S):
                        for ending in self._at_end:
                            await ending()
                await outbound.close()
                await limits.close()
                if self._jobs is not None:
                    await sync_to_async(self._jobs.stop, thread_sensitive=False)()
                await send({"type": "lifespan.shutdown.complete"})
                return
