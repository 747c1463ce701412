"""An OpenAI-compatible server on loopback, which does what the model's name says."""

import asyncio
import base64
import json
import threading
import time
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

EMBEDDING_USAGE = {"prompt_tokens": 8, "total_tokens": 8}
IMAGE_USAGE = {"input_tokens": 10, "output_tokens": 1000, "total_tokens": 1010}
IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
WEBP = base64.b64encode(b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(40)).decode()
_DETAIL = {"type": "reasoning.text", "index": 0, "format": "unknown"}
_SEALED = {"type": "reasoning.encrypted", "data": "c2VhbGVk", "id": "rs_1", "index": 1,
           "format": "openai-responses-v1"}  # fmt: skip
#: What "thinking" models stream before their first word, in OpenRouter's fields, and what that
#: comes to in a whole answer.
THOUGHTS: list[dict[str, Any]] = [
    {"reasoning": "Let me", "reasoning_details": [{**_DETAIL, "text": "Let me"}]},
    {"reasoning": " see.", "reasoning_details": [{**_DETAIL, "text": " see."}]},
    {"reasoning_details": [_SEALED]},
]
THOUGHT = {
    "reasoning": "Let me see.",
    "reasoning_details": [{**_DETAIL, "text": "Let me see."}, _SEALED],
}
#: The tool calls of "tools" models: as they are streamed, and whole.
CALL_PIECES = [
    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "read_file"}},
    {"index": 0, "function": {"arguments": '{"path":'}},
    {"index": 0, "function": {"arguments": ' "a.py"}'}},
    {"index": 1, "id": "call_2", "type": "function",
     "function": {"name": "mcp--git--log", "arguments": "{}"}},
]  # fmt: skip
TOOL_CALLS = [
    {"id": "call_1", "type": "function",
     "function": {"name": "read_file", "arguments": '{"path": "a.py"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "mcp--git--log", "arguments": "{}"}},
]  # fmt: skip


def _reports(model: str) -> list[dict[str, Any]]:
    """How a stream of that model ends."""
    if "bare" in model:
        return [{"usage": USAGE}]
    if "empty" in model:
        return [{"choices": [], "usage": {}}]
    return [] if "silent" in model else [{"choices": [], "usage": USAGE}]


def _finish(model: str) -> str:
    return "tool_calls" if "tools" in model else "stop"


def _deltas(model: str) -> list[dict[str, Any]]:
    """What a stream of that model says before its words."""
    if "thinking" in model:
        return THOUGHTS
    if "pondering" in model:  # in DeepSeek's field
        return [{"reasoning_content": "Let me"}, {"reasoning_content": " see."}]
    if "tools" in model:
        return [{"tool_calls": [piece]} for piece in CALL_PIECES]
    return []


def _message(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a whole answer of that model says."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(WORDS)}
    if "surrogate" in model:
        message["content"] = "cut \ud83d"
    if "objects" in model:
        message["tool_calls"] = [{"function": {"name": "f", "arguments": {"a": 1}}}]
    if "image" in body.get("modalities", ()):
        url = {"url": f"data:image/png;base64,{IMAGE}"}
        message = {"role": "assistant", "content": "", "images": [{"image_url": url}]}
    if "thinking" in model:
        message |= THOUGHT
    if "tools" in model:
        message |= {"content": None, "tool_calls": TOOL_CALLS}
    return message


def _error_of(model: str) -> dict[str, Any] | None:
    """What ``refuses-429-in-words`` says."""
    _, *code, words = f"{model}-".split("-", 2)
    if not code:
        return None
    said = int(code[0]) if code[0].isdigit() else code[0]
    return {"message": words.replace("-", " "), "code": said}


class FakeUpstream:
    """requests: what it was asked, in order. produced: chunks that it wrote, per model."""

    def __init__(self) -> None:
        self.key = KEY  # the one that it takes
        self.requests: list[dict[str, Any]] = []
        self.produced = 0
        self.answered = 0  # whole answers that were made to their end
        self.go_on = threading.Event()  # what "waits" models wait for after their first word
        self.cut = threading.Event()  # the other side hung up on a stream
        self.recovered: set[str] = set()  # "recovers" models that have failed once
        self.url = ""
        self.link = ""  # what "link" models point at, instead of here

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(
            {"headers": dict(request.headers), "body": body, "at": time.monotonic()}
        )
        if (refusal := self._stranger(request)) is not None:
            return refusal
        model = body["model"]
        if "hangs" in model:
            await asyncio.sleep(30)
        if (failure := await self._failure(request, model)) is not None:
            return failure
        if body.get("stream") and "unstreamed" not in model:
            return await self._stream(request, model)
        message = _message(model, body)
        if model.startswith("refuses"):
            return web.json_response({"error": _error_of(model)})
        if "unhurried" in model:
            await asyncio.sleep(0.5)
        answer = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": _finish(model)}],
        }
        if "silent" not in model:
            answer["usage"] = USAGE
        self.answered += 1
        return web.json_response(answer)

    async def _failure(self, request: web.Request, model: str) -> web.StreamResponse | None:
        if model.startswith("status-"):
            status = int(model.split("-")[1])
            text = "This model's maximum context length is 10 tokens" if status == 400 else "No."
            if "slowly" in model:
                return await self._slow_error(request, status, text)
            headers = {"Retry-After": "7"} if status == 429 else None
            return self._error(status, text, headers)
        if model.startswith("recovers-") and model not in self.recovered:
            self.recovered.add(model)
            return self._error(int(model.split("-")[1]), "Busy.", {"Retry-After": "1"})
        return None

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append({"headers": dict(request.headers), "body": body})
        usage = {} if "silent" in body["model"] else {"usage": EMBEDDING_USAGE}
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        text = body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": i, "embedding": "AACAPwAAAEA=" if text else [1.0, 2.0]}
            for i, _ in enumerate(inputs)
        ]
        return web.json_response({"object": "list", "data": data, "model": "m", **usage})

    async def generations(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append({"headers": dict(request.headers), "body": body})
        model = body["model"]
        if "link" in model:
            one: dict[str, Any] = {"url": self.link or f"{self.url}/{model.split('-')[1]}"}
        elif "inline" in model:
            one = {"url": f"data:image/png;base64,{IMAGE}"}
        else:
            one = {"b64_json": WEBP if "webp" in model else IMAGE}
        usage = {"usage": IMAGE_USAGE} if "counted" in model else {}
        return web.json_response({"created": 1, "data": [one] * body.get("n", 1), **usage})

    async def image(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "away":
            raise web.HTTPFound(f"{self.url}/png")
        if name == "huge":
            return web.Response(body=base64.b64decode(IMAGE) + bytes(33 * 2**20))
        found = {"png": base64.b64decode(IMAGE), "webp": base64.b64decode(WEBP)}
        return web.Response(body=found.get(name, b"<html>"), content_type="image/png")

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
            begins = not model.startswith(("refuses", "hollow"))
            async for event in self._events(model) if begins else self._refusals(model):
                await response.write(event)
        except (ConnectionResetError, asyncio.CancelledError):
            self.cut.set()
            raise
        return response

    async def _refusals(self, model: str) -> AsyncIterator[bytes]:
        """Streams that do not begin: ``refuses-429-in-words``, ``hollow``."""
        yield b": PROCESSING\n\n"
        if error := _error_of(model):
            yield b"data: " + json.dumps({"error": error}).encode() + b"\n\n"

    async def _events(self, model: str) -> AsyncIterator[bytes]:
        def event(**fields: Any) -> bytes:
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model}
            return b"data: " + json.dumps({**chunk, **fields}).encode() + b"\n\n"

        if "early" in model:
            yield event(choices=[], usage={"prompt_tokens": 1000, "completion_tokens": 1})
        for delta in _deltas(model):
            self.produced += 1
            yield event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        for word in [] if "tools" in model else WORDS:
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
        yield event(choices=[{"index": 0, "delta": {}, "finish_reason": _finish(model)}])
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

    def _stranger(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {self.key}":
            return None
        return self._error(401, f"Incorrect API key provided: {KEY}")

    async def models(self, request: web.Request) -> web.Response:
        if (refusal := self._stranger(request)) is not None:
            return refusal
        return web.json_response({"object": "list", "data": [{"id": "plain", "object": "model"}]})


@contextmanager
def fake_upstream() -> Iterator[FakeUpstream]:
    """A running fake; its ``url`` is a base URL such as ``http://127.0.0.1:5000/v1``."""
    fake = FakeUpstream()
    app = web.Application(client_max_size=2**28)
    app.add_routes(
        [
            web.post("/v1/chat/completions", fake.completions),
            web.post("/v1/embeddings", fake.embeddings),
            web.post("/v1/images/generations", fake.generations),
            web.get("/v1/models", fake.models),
            web.get("/v1/{name}", fake.image),
        ]
    )
    with on_loopback(app) as url:
        fake.url = f"{url}/v1"
        yield fake
