"""From where a request comes, for what is written down of it without a request at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Whence:
    """network: see lib.addresses.network_of. Both are empty for what the server does by itself."""

    network: str = ""
    request_id: str = ""


_NOWHERE = Whence()
_current: ContextVar[Whence] = ContextVar("whence", default=_NOWHERE)


def current() -> Whence:
    """Of what this thread or asyncio task works at."""
    return _current.get()


@contextmanager
def coming_from(whence: Whence) -> Iterator[None]:
    """Around the handling of one request or socket."""
    token = _current.set(whence)
    try:
        yield
    finally:
        _current.reset(token)
