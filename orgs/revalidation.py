"""``GET /api/extension-settings`` of who has the newest already, answered before Django.

Editors ask for as long as they are open, and settings change a few times a month. Every change
anywhere raises one number (accounts.versions), so while that stands a tag is known to be current
without a look at either half, and the number itself is looked at once a second. Whoever has another
tag, or none, is answered by Django, which reads what is in force at that moment: only a 304 may be
a second late.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.utils import timezone
from django.utils.http import parse_etags

from accounts import bearer, versions
from accounts.actors import Actor
from roocloud.lib.asgi import App, Receive, Scope, Send
from roocloud.lib.fresh import Fresh
from roocloud.lib.refusals import Unauthenticated
from roocloud.lib.threads import run_db

HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


@dataclass(frozen=True, slots=True)
class _Tag:
    """What was current for a person in a context when the newest version was ``newest``."""

    etag: str
    newest: int


_tags: Fresh[tuple[str, str | None], _Tag] = Fresh(age=timedelta(hours=1))


def note(actor: Actor, etag: str, *, newest: int, at: datetime) -> None:
    """Remember a strong tag. newest: as accounts.versions.newest() gave it before the tag's parts
    were read, so that a change in between is noticed."""
    _tags.put((actor.user_id, actor.organization_id), _Tag(etag, newest), at=at)


def matches(if_none_match: str, etag: str) -> bool:
    """Weak comparison (RFC 9110 §8.8.3.2): on the way, a tag is made strong or joined by others."""
    known = {given.removeprefix("W/") for given in parse_etags(if_none_match)}
    return not known.isdisjoint({etag, "*"})


def application(django: App) -> App:
    """The route; ``django`` answers whatever is no repetition."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        etag = await _current(scope) if scope["method"] == "GET" else None
        if etag is None:
            await django(scope, receive, send)
            return
        headers = {"ETag": f"W/{etag}", **HEADERS}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 304, "headers": raw})
        await send({"type": "http.response.body", "body": b""})

    return answer


async def _current(scope: Scope) -> str | None:
    """The tag of a request that names it already; None for every other, also for a refused one."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    wanted, authorization = headers.get(b"if-none-match"), headers.get(b"authorization")
    if wanted is None or authorization is None:
        return None
    at = timezone.now()
    try:
        actor = bearer.cached_actor(authorization, at=at)
        if actor is None:
            actor = await run_db(bearer.authenticate, authorization, at=at)
        newest = versions.known_newest(at=at)
        if newest is None:
            newest = await run_db(versions.newest, at=at)
    except (Unauthenticated, DatabaseError):
        return None
    tag = _tags.get((actor.user_id, actor.organization_id), at=at)
    is_current = tag is not None and tag.newest == newest and matches(wanted, tag.etag)
    return tag.etag if tag is not None and is_current else None
