"""Every route of the deployment, as the access walk sees it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from roocloud.lib.access import Access, declared

#: Routes of libraries, whose views carry no declaration of ours. Each with its rule and the reason.
LIBRARY_ROUTES: dict[str, tuple[Access, str]] = {
    "admin/": (Access("staff"), "AdminSite.has_permission guards each of its views"),
    "accounts/": (Access("public", "allauth"), "allauth guards what is behind a sign-in itself"),
    "api/docs/openapi.json": (Access("public", "spectacular"), "describes the API, holds no data"),
    "api/docs": (Access("public", "spectacular"), "a page that reads the document above"),
}


#: The plain ASGI routes, which check their bearer by themselves.
COMPLETES = ("proxy/v1/chat/completions", "proxy/v1/embeddings", "proxy/v1/images/generations")
#: The stream of a running task, which checks its cookie by itself; tests/tasks_sharing/test_live.py
#: asks it as everybody.
LIVE = "task/<str:task_id>/live"
#: The sockets of editors and browsers, over WebSocket and HTTP; tests/bridge asks them as everybody.
SOCKETS = "socket.io/"


@dataclass(frozen=True)
class Route:
    path: str
    view: Any
    parameters: tuple[str, ...]
    access: Access | None

    @property
    def is_ours(self) -> bool:
        return not any(self.path.startswith(prefix) for prefix in LIBRARY_ROUTES)


def walk(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[Route]:
    """Django's routes, and the ASGI ones beside them."""
    if patterns is None:
        patterns = get_resolver().url_patterns
        completes = Access("bearer", kinds=frozenset({"auth", "cli", "cj", "key"}))
        yield from (Route(path, None, (), completes) for path in COMPLETES)
        yield Route(LIVE, None, ("task_id",), Access("signed_in"))
        yield Route(SOCKETS, None, (), Access("signed_in"))
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            names = tuple(pattern.pattern.regex.groupindex)
            yield Route(path, pattern.callback, names, declared(pattern.callback))
