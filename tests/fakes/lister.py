"""An upstream that lists models in the words it is given, and completes one token."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.fakes.loopback import on_loopback

KEY = "sk-lister-secret"


class FakeLister:
    """models, completion: what it answers, as JSON or bytes, with which status. asked: the paths
    and bodies of what came. headers: sent with every answer."""

    def __init__(self) -> None:
        self.url = ""
        self.models: Any = {"object": "list", "data": [{"id": "plain", "object": "model"}]}
        self.models_status = 200
        self.completion: Any = {"choices": [{"message": {"content": "H"}}]}
        self.completion_status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, Any]] = []

    async def list_models(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, None))
        return self._answer(request, self.models_status, self.models)

    async def complete(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, await request.json()))
        return self._answer(request, self.completion_status, self.completion)

    def _answer(self, request: web.Request, status: int, body: Any) -> web.Response:
        given = (request.headers.get("Authorization"), request.headers.get("x-api-key"))
        if given not in ((f"Bearer {KEY}", None), (None, KEY)):
            error = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
            return web.json_response(error, status=401)
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, headers=self.headers)
        return web.json_response(body, status=status, headers=self.headers)


@contextmanager
def fake_lister() -> Iterator[FakeLister]:
    """A running fake; its ``url`` is a base URL."""
    fake = FakeLister()
    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/models", fake.list_models),
            web.post("/v1/chat/completions", fake.complete),
            web.post("/v1/messages", fake.complete),
        ]
    )
    with on_loopback(app) as url:
        fake.url = f"{url}/v1"
        yield fake
