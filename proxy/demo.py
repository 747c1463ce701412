"""The built-in demo model: it answers so that a newcomer sees the whole round without a key.

Only where nobody could mistake it for a real one: in the embedded deployment, and as long as no
real upstream is enabled.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from django.conf import settings

from proxy.calls import Call
from proxy.models import Upstream

MODEL_ID = "demo/coder"
NAME = "Demo (built in, not a real model)"
DESCRIPTION = (
    "A fixed answer from this server, to try the round without a provider key. "
    "It disappears as soon as an upstream is configured."
)
UPSTREAM_NAME = "demo"
CONTEXT_WINDOW = 128_000
MAX_TOKENS = 4_096
_PAUSE_S = 0.02
_ANSWER = (
    "This is the built-in demo model of your own server. It does not think: it shows that sign-in, "
    "settings, streaming, metering and recording work. Configure an upstream to use a real model."
)


def is_offered() -> bool:
    """Whether the demo stands in for a real upstream now."""
    return (
        settings.ROOCLOUD_MODE == "embedded" and not Upstream.unscoped.filter(enabled=True).exists()
    )


def _tool_call(call: Call) -> dict[str, Any] | None:
    """Editors end a turn by a tool call; the demo makes it when that tool is offered."""
    tools = msgspec.json.decode(call.fields.get("tools", b"null"))
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and function.get("name") == "attempt_completion":
            arguments = json.dumps({"result": _ANSWER})
            return {
                "index": 0,
                "id": "call_demo",
                "type": "function",
                "function": {"name": "attempt_completion", "arguments": arguments},
            }
    return None


def _usage(call: Call) -> dict[str, int]:
    prompt, completion = call.prompt_tokens_estimate(CONTEXT_WINDOW), len(_ANSWER) // 4
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _envelope(completion_id: str, created: int, kind: str) -> dict[str, Any]:
    return {"id": completion_id, "object": kind, "created": created, "model": MODEL_ID}


def answer(call: Call, *, completion_id: str, created: int) -> bytes:
    """The whole answer. created: epoch seconds."""
    tool_call = _tool_call(call)
    message: dict[str, Any] = {"role": "assistant", "content": _ANSWER}
    if tool_call:
        message["tool_calls"] = [tool_call]
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "tool_calls" if tool_call else "stop",
    }
    body = {
        **_envelope(completion_id, created, "chat.completion"),
        "choices": [choice],
        "usage": _usage(call),
    }
    return json.dumps(body).encode()


async def stream(call: Call, *, completion_id: str, created: int) -> AsyncGenerator[bytes, None]:
    """The same as events, word by word."""
    envelope = _envelope(completion_id, created, "chat.completion.chunk")

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + json.dumps({**envelope, "choices": choices, **more}).encode() + b"\n\n"

    def delta(**fields: Any) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": fields, "finish_reason": None}]

    yield event(delta(role="assistant", content=""))
    for word in _ANSWER.split(" "):
        yield event(delta(content=f"{word} "))
        await asyncio.sleep(_PAUSE_S)
    tool_call = _tool_call(call)
    if tool_call:
        yield event(delta(tool_calls=[tool_call]))
    reason = "tool_calls" if tool_call else "stop"
    yield event([{"index": 0, "delta": {}, "finish_reason": reason}])
    yield event([], usage=_usage(call))
    yield b"data: [DONE]\n\n"
