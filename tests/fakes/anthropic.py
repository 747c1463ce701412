"""A server on loopback that speaks Anthropic's Messages API, and does what the model's name says.

The shapes are those of the public API reference (version 2023-06-01).
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.fakes.loopback import on_loopback

KEY = "sk-ant-secret"
TEXT = "Hello from the fake Claude."
THOUGHT = "Let me think. "
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"
REDACTED = "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpP"
INPUT = {"path": "src/ä.py", "lines": [1, 2]}
USAGE = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 700,
    "output_tokens": 50,
}
OVERFLOW = "prompt is too long: 345320 tokens > 200000 maximum"
ERRORS = {
    400: ("invalid_request_error", OVERFLOW),
    401: ("authentication_error", f"invalid x-api-key {KEY}"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit"),
    529: ("overloaded_error", "Overloaded"),
}


def content(model: str) -> list[dict[str, Any]]:
    """The blocks of a model's answer."""
    blocks: list[dict[str, Any]] = []
    if "thinking" in model:
        blocks.append({"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE})
        blocks.append({"type": "redacted_thinking", "data": REDACTED})
    blocks.append({"type": "text", "text": TEXT})
    if "tools" in model:
        tool = {"type": "tool_use", "id": "toolu_01", "name": "read_file", "input": INPUT}
        blocks += [tool, {**tool, "id": "toolu_02", "name": "list_tasks", "input": {}}]
    return blocks


def stop_reason(model: str) -> str:
    return "tool_use" if "tools" in model else "end_turn"


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011C"}


def event(name: str, **fields: Any) -> bytes:
    data = json.dumps({"type": name, **fields}, ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n".encode()


def message(model: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE,
        **fields,
    }


def begin(model: str) -> bytes:
    return event("message_start", message=message(model, usage={**USAGE, "output_tokens": 2}))


def end(model: str) -> bytes:
    delta = {"stop_reason": stop_reason(model), "stop_sequence": None}
    last = event("message_delta", delta=delta, usage={"output_tokens": USAGE["output_tokens"]})
    return last + event("message_stop")


def _pieces(text: str, size: int = 9) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def block_events(index: int, block: dict[str, Any]) -> list[bytes]:
    """How a block streams."""

    def delta(kind: str, **fields: Any) -> bytes:
        return event("content_block_delta", index=index, delta={"type": kind, **fields})

    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
    opened = {**block, **empty.get(block["type"], {})}
    deltas: list[bytes] = []
    if block["type"] == "text":
        deltas = [delta("text_delta", text=piece) for piece in _pieces(block["text"])]
    elif block["type"] == "thinking":
        deltas = [delta("thinking_delta", thinking=piece) for piece in _pieces(block["thinking"])]
        deltas.append(delta("signature_delta", signature=block["signature"]))
    elif block["type"] == "tool_use":
        opened["input"] = {}
        whole = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        deltas = [delta("input_json_delta", partial_json=piece) for piece in ["", *_pieces(whole)]]
    return [
        event("content_block_start", index=index, content_block=opened),
        *deltas,
        event("content_block_stop", index=index),
    ]


def events(model: str) -> list[bytes]:
    """The stream of a model's answer."""
    blocks = [e for i, b in enumerate(content(model)) for e in block_events(i, b)]
    return [begin(model), event("ping"), *blocks, end(model)]


class FakeAnthropic:
    """requests: what it was asked, in order. cut: the other side hung up on a stream."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.cut = threading.Event()
        self.url = ""

    async def messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append({"headers": dict(request.headers), "body": body})
        model = body["model"]
        status = int(model.split("-")[-1]) if "status" in model else 200
        if request.headers.get("x-api-key") != KEY:
            status = 401
        if status != 200:
            headers = {"Retry-After": "7"} if status == 429 else None
            return web.json_response(error(*ERRORS[status]), status=status, headers=headers)
        if body.get("stream"):
            return await self._stream(request, model)
        if "garbled" in model:
            return web.json_response(error("api_error", "Internal"))
        whole = message(model, content=content(model), stop_reason=stop_reason(model))
        return web.json_response(whole)

    async def _stream(self, request: web.Request, model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        try:
            async for data in self._streamed(model):
                await response.write(data)
        except (ConnectionResetError, asyncio.CancelledError):
            self.cut.set()
            raise
        return response

    async def _streamed(self, model: str) -> AsyncIterator[bytes]:
        whole = events(model)
        text = event("content_block_delta", index=0, delta={"type": "text_delta", "text": " on"})
        if "overloaded" in model:
            whole = [*whole[:5], event(**{"name": "error", **_error_fields("overloaded_error")})]
        if "refusing" in model:
            whole = [event("ping"), event(**{"name": "error", **_error_fields("overloaded_error")})]
        if "truncated" in model:
            whole = whole[:-1]
        for data in whole[:4]:
            yield data
        while "endless" in model:
            yield text
            await asyncio.sleep(0.02)
        for data in whole[4:]:
            yield data


def _error_fields(kind: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": "Overloaded"}}


@contextmanager
def fake_anthropic() -> Iterator[FakeAnthropic]:
    """A running fake; its ``url`` is a base URL such as ``http://127.0.0.1:5000``."""
    fake = FakeAnthropic()
    app = web.Application(client_max_size=2**28)
    app.add_routes([web.post("/v1/messages", fake.messages)])
    with on_loopback(app) as url:
        fake.url = url
        yield fake
