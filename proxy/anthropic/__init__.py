"""Upstreams that speak Anthropic's Messages API. No I/O."""

from typing import TYPE_CHECKING

from proxy.anthropic.answers import StreamTranslator, answer
from proxy.anthropic.requests import request
from proxy.anthropic.shapes import VERSION
from proxy.calls import CHAT, Call, Endpoint

if TYPE_CHECKING:
    from proxy.catalogue import Way


class Anthropic:
    """See dialects.Dialect."""

    rewrites = True
    chat_only = True

    def url(self, base_url: str, endpoint: Endpoint = CHAT) -> str:
        return f"{base_url.removesuffix('/v1')}/v1/messages"

    def models_url(self, base_url: str) -> str:
        return f"{base_url.removesuffix('/v1')}/v1/models?limit=1000"

    def headers(self, api_key: str) -> dict[str, str]:
        return {"x-api-key": api_key, "anthropic-version": VERSION}

    def body(self, call: Call, way: "Way", *, most: int) -> list[bytes | memoryview]:
        return [request(call, model=way.model, most=most, dropped=way.dropped)]

    def stream(self, *, created: int) -> StreamTranslator:
        return StreamTranslator(created=created)

    def answer(self, body: bytes, *, created: int) -> bytes:
        return answer(body, created=created)
