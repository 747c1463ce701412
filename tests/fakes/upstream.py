"""An OpenAI-compatible server on loopback, which does what the model's name says."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.fakes.loopback import on_loopback

KEY = "sk-upstream-secret"
WORDS = ["Hello", " from", " the", " fake", " upstream", "."]
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 400},
}


def _reports(model: str) -> list[dict[str, Any]]:
    """How a stream of that model ends."""
    if "bare" in model:
        return [{"usage": USAGE}]
    if "empty" in model:
        return [{"choices": [], "usage": {}}]
    return [] if "silent" in model else [{"choices": [], "usage": USAGE}]


class FakeUpstream:
    """requests: what it was asked, in order. produced: chunks that it wrote, per model."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.produced = 0
        self.answered = 0  # whole answers that were made to their end
        self.go_on = threading.Event()  # what "waits" models wait for after their first word
        self.cut = threading.Event()  # the other side hung up on a stream
        self.url = ""

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append({"headers": dict(request.headers), "body": body})
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return self._error(401, f"Incorrect API key provided: {KEY}")
        model = body["model"]
        if model.startswith("status-"):
            status = int(model.split("-")[1])
            text = "This model's maximum context length is 10 tokens" if status == 400 else "No."
            if "slowly" in model:
                return await self._slow_error(request, status, text)
            headers = {"Retry-After": "7"} if status == 429 else None
            return self._error(status, text, headers)
        if body.get("stream") and "unstreamed" not in model:
            return await self._stream(request, model)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(WORDS)}
        if "surrogate" in model:
            message["content"] = "cut \ud83d"
        if "objects" in model:
            message["tool_calls"] = [{"function": {"name": "f", "arguments": {"a": 1}}}]
        if "unhurried" in model:
            await asyncio.sleep(0.5)
        answer = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        if "silent" not in model:
            answer["usage"] = USAGE
        self.answered += 1
        return web.json_response(answer)

    async def _slow_error(self, request: web.Request, status: int, text: str) -> web.StreamResponse:
        """The body in two segments."""
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        await response.write(b'[{"error": {"message": ')
        await asyncio.sleep(0.1)
        await response.write(json.dumps(text).encode() + b"}}]")
        return response

    def _error(
        self, status: int, message: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        return web.json_response({"error": {"message": message}}, status=status, headers=headers)

    async def _stream(self, request: web.Request, model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            async for event in self._events(model):
                await response.write(event)
        except (ConnectionResetError, asyncio.CancelledError):
            self.cut.set()
            raise
        return response

    async def _events(self, model: str) -> AsyncIterator[bytes]:
        def event(**fields: Any) -> bytes:
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model}
            return b"data: " + json.dumps({**chunk, **fields}).encode() + b"\n\n"

        if "early" in model:
            yield event(choices=[], usage={"prompt_tokens": 1000, "completion_tokens": 1})
        for word in WORDS:
            self.produced += 1
            yield event(choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}])
            await self._pause(model)
            if "breaks" in model:
                raise ConnectionResetError
        while "endless" in model:
            self.produced += 1
            yield event(choices=[{"index": 0, "delta": {"content": " on"}, "finish_reason": None}])
            await asyncio.sleep(0.02)
        if "fails" in model:
            yield event(error={"message": "overloaded", "code": 529})
        yield event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        for usage in _reports(model):
            yield event(**usage)
        yield b"data: [DONE]\n\n"
        if "lingers" in model:
            await asyncio.sleep(30)

    async def _pause(self, model: str) -> None:
        if "endless" in model or "slow" in model or "early" in model:
            await asyncio.sleep(0.05)
        if "waits" in model:
            await asyncio.to_thread(self.go_on.wait, 60)

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "plain", "object": "model"}]})


@contextmanager
def fake_upstream() -> Iterator[FakeUpstream]:
    """A running fake; its ``url`` is a base URL such as ``http://127.0.0.1:5000/v1``."""
    fake = FakeUpstream()
    app = web.Application(client_max_size=2**28)
    app.add_routes(
        [
            web.post("/v1/chat/completions", fake.completions),
            web.get("/v1/models", fake.models),
        ]
    )
    with on_loopback(app) as url:
        fake.url = f"{url}/v1"
        yield fake
