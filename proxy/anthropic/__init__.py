"""Upstreams that speak Anthropic's Messages API. No I/O."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.access import check_key
from proxy.anthropic.answers import StreamTranslator, answer
from proxy.anthropic.requests import request
from proxy.anthropic.shapes import VERSION
from proxy.calls import CHAT, Call, Endpoint

if TYPE_CHECKING:
    from proxy.catalogue import Way
    from proxy.dialects import Translator


class Anthropic:
    """See dialects.Dialect."""

    rewrites = True
    chat_only = True
    stream_type = "text/event-stream"
    signs = False
    modules: tuple[str, ...] = ()
    trades_key = False

    def check(self, base_url: str, api_key: str) -> None:
        check_key(api_key)

    def url(self, base_url: str, *, model: str, is_stream: bool, endpoint: Endpoint = CHAT) -> str:
        return f"{base_url.removesuffix('/v1')}/v1/messages"

    def models_url(self, base_url: str) -> str | None:
        return f"{base_url.removesuffix('/v1')}/v1/models?limit=1000"

    def headers(
        self, secret: str, *, url: str, body: Sequence[bytes | memoryview]
    ) -> dict[str, str]:
        return {"x-api-key": secret, "anthropic-version": VERSION}

    def body(self, call: Call, way: "Way", *, most: int) -> Sequence[bytes | memoryview]:
        return [request(call, model=way.model, most=most, dropped=way.dropped)]

    def stream(self, *, created: int) -> "Translator":
        return StreamTranslator(created=created)

    def answer(self, body: bytes, *, created: int) -> bytes:
        return answer(body, created=created)
