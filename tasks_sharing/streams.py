"""``/task/{id}/live``: server-sent events that say when a task's page has news. Plain ASGI, because
it waits long: an open stream holds no thread and no connection to the database.

Events: ``state``, the version of the conversation, at the beginning and every CHECK_S seconds;
``changed``; ``beat``, the sign of life; and ``gone``, after which the page is not to ask again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from accounts import browsers
from roocloud.lib import limits
from roocloud.lib.asgi import App, Receive, Scope, Send
from roocloud.lib.ids import new_id
from roocloud.lib.limits import Lease
from roocloud.lib.origins import is_own_page
from roocloud.lib.refusals import (
    Forbidden,
    NotFound,
    Refusal,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from roocloud.lib.threads import run_db
from roocloud.lib.wire import dumps
from tasks_sharing import live, queries
from tasks_sharing.news import transcript_of

logger = logging.getLogger(__name__)


#: Seconds between two looks at the rights of who watches, and at the task (B4, D8).
CHECK_S = 4
#: Seconds that a stream is silent at most. A page takes one that is silent for twice as long for
#: broken, so it notices within five seconds what no network tells it (D8).
BEAT_S = 2
#: Seconds between two events ``changed``; what happens in between is one.
PACE_S = 0.4
#: Seconds within which a stream notices that the process ends.
_NOTICE_S = 0.5
#: Seconds that a browser is given to take an event, and after which a stream ends to begin anew.
_TAKE_S, _LIFE_S = 10, 3600
_RETRY_MS = 1_000

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-robots-tag", b"noindex, nofollow, noarchive"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


@dataclass(frozen=True, slots=True)
class Seen:
    """The task that somebody may open, and the version of its page."""

    viewer_id: str
    task_pk: str
    version: str


def application(*, is_ending: Callable[[], bool]) -> App:
    """The route. is_ending: whether the process lets no more requests in."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _serve(scope, receive, send, is_ending)
        except Refusal as refused:
            await _refuse(refused, send)
        except DatabaseError:
            logger.exception("A live page could not begin")
            await _refuse(Unavailable("This server cannot answer right now", retry_after_s=5), send)

    return answer


async def _serve(scope: Scope, receive: Receive, send: Send, is_ending: Callable[[], bool]) -> None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if not is_own_page(headers):  # the cookie alone opens the stream (R3)
        raise Forbidden("Only pages of this server may follow tasks")
    if scope["method"] != "GET":
        raise NotFound("Not found")
    look = partial(_look, headers.get(b"cookie", ""), scope["url_route"]["kwargs"]["task_id"])
    seen = await run_db(look)
    lease = Lease(f"live:{seen.viewer_id}", settings.ROOCLOUD_LIVE_STREAMS, new_id("live"))
    verdict = await limits.take((), [lease])
    if verdict.refused is not None:
        raise TooManyRequests("Too many tasks are followed at once", retry_after_s=10)
    gone = asyncio.create_task(_gone(receive))
    following = asyncio.create_task(_follow(_Stream(send), look, seen, lease, is_ending))
    try:
        await asyncio.wait([gone, following], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, following):
            task.cancel()
        with suppress(asyncio.CancelledError, TimeoutError):
            await following
        limits.give_back([lease])


async def _gone(receive: Receive) -> None:
    """Returns when the browser has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _look(cookies: str, task_id: str) -> Seen:
    """As things stand (B4, J2). Raises Unauthenticated, and NotFound for a task that whoever the
    cookies are of may not open."""
    viewer_id = browsers.person_of(cookies, at=timezone.now())
    if viewer_id is None:
        raise Unauthenticated("Sign in to follow this task")
    task = queries.find_task(task_id=task_id, viewer_id=viewer_id)
    if task is None:
        raise NotFound("Not found")
    return Seen(viewer_id, task.pk, transcript_of(task).version)


class _Stream:
    """The side of the browser."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._told_at = 0.0

    async def begin(self) -> None:
        """The answer that a browser takes for a stream, and when to come back after its end."""
        await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._write(f"retry: {_RETRY_MS}\n\n")

    async def tell(self, event: str, data: str = "") -> None:
        self._told_at = time.monotonic()
        await self._write(f"event: {event}\ndata: {data}\n\n")

    async def beat(self) -> None:
        """Tell that the server is there, if nothing else told it lately."""
        if time.monotonic() - self._told_at >= BEAT_S - _NOTICE_S:
            await self.tell("beat")

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _write(self, text: str) -> None:
        """Raises TimeoutError for a browser that does not read."""
        async with asyncio.timeout(_TAKE_S):
            body = {"type": "http.response.body", "body": text.encode(), "more_body": True}
            await self._send(body)


async def _follow(
    stream: _Stream,
    look: Callable[[], Seen],
    seen: Seen,
    lease: Lease,
    is_ending: Callable[[], bool],
) -> None:
    """Tell the browser until it is gone, may not see the task any more, or the process ends."""
    began = checked = time.monotonic()
    async with live.watching(seen.task_pk) as changed:
        await stream.begin()
        await stream.tell("state", seen.version)
        while not is_ending() and time.monotonic() - began < _LIFE_S:
            with suppress(TimeoutError):
                async with asyncio.timeout(_NOTICE_S):
                    await changed.wait()
            if time.monotonic() - checked >= CHECK_S:
                checked = time.monotonic()
                if not await _check(stream, look, seen):
                    break
                await limits.renew([lease])
            if changed.is_set():
                changed.clear()
                await stream.tell("changed")
                await asyncio.sleep(PACE_S)
            await stream.beat()
    await stream.end()


async def _check(stream: _Stream, look: Callable[[], Seen], seen: Seen) -> bool:
    """Whether the stream goes on. While the database is away nobody's rights are known: the stream
    ends, and the browser asks again."""
    try:
        now = await run_db(look)
    except Refusal:
        now = None
    except DatabaseError:
        logger.warning("A live page ends: the database does not answer")
        return False
    if now is None or (now.viewer_id, now.task_pk) != (seen.viewer_id, seen.task_pk):
        await stream.tell("gone")
        return False
    await stream.tell("state", now.version)
    return True


async def _refuse(refused: Refusal, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), *_HEADERS[1:]]
    if refused.retry_after_s is not None:
        headers.append((b"retry-after", str(refused.retry_after_s).encode()))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    body = dumps({"error": refused.message}).encode()
    await send({"type": "http.response.body", "body": body})
