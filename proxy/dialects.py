"""How each kind of upstream is spoken to. No I/O.

Clients speak chat completions; a dialect says what that becomes for one kind of upstream, and turns
its answers back. What passes the meter is a chat completion whatever the upstream spoke.
"""

from collections.abc import Sequence
from typing import Protocol

from proxy.access import check_key
from proxy.anthropic import Anthropic
from proxy.anthropic.bedrock import Bedrock
from proxy.anthropic.vertex import Vertex
from proxy.calls import CHAT, Call, Endpoint
from proxy.catalogue import Way
from proxy.models import Upstream


class Translator(Protocol):
    """Of one stream: ``feed`` it bytes cut anywhere, then ``finish``."""

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Dialect(Protocol):
    """rewrites: whether a body is made anew, which for a large one takes time. chat_only: whether
    it has no other endpoint. stream_type: the content type of its streams. signs: whether its
    headers are made of the whole body. modules: of an extra library that it needs. trades_key:
    whether the stored key stands for tokens that end. For both see access."""

    rewrites: bool
    chat_only: bool
    stream_type: str
    signs: bool
    modules: tuple[str, ...]
    trades_key: bool

    def check(self, base_url: str, api_key: str) -> None:
        """Raises InvalidInput (``base_url``, ``api_key``) for what such an upstream cannot be."""
        ...

    def url(
        self, base_url: str, *, model: str, is_stream: bool, endpoint: Endpoint = CHAT
    ) -> str: ...

    def models_url(self, base_url: str) -> str | None:
        """None for one that does not list its models."""
        ...

    def headers(
        self, secret: str, *, url: str, body: Sequence[bytes | memoryview]
    ) -> dict[str, str]:
        """Those that prove who asks. secret: as access gives it."""
        ...

    def body(self, call: Call, way: Way, *, most: int) -> Sequence[bytes | memoryview]:
        """In pieces. most: the model's limit of output tokens. Raises InvalidInput."""
        ...

    def stream(self, *, created: int) -> Translator: ...

    def answer(self, body: bytes, *, created: int) -> bytes:
        """Raises ValueError for what is no answer."""
        ...


class _AsItIs:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class OpenAI:
    """What clients speak themselves: the same bytes, in both directions (F4)."""

    rewrites = False
    chat_only = False
    stream_type = "text/event-stream"
    signs = False
    modules: tuple[str, ...] = ()
    trades_key = False

    def check(self, base_url: str, api_key: str) -> None:
        check_key(api_key)

    def url(self, base_url: str, *, model: str, is_stream: bool, endpoint: Endpoint = CHAT) -> str:
        return f"{base_url}/{endpoint.path}"

    def models_url(self, base_url: str) -> str:
        return f"{base_url}/models"

    def headers(
        self, secret: str, *, url: str, body: Sequence[bytes | memoryview]
    ) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    def body(self, call: Call, way: Way, *, most: int) -> Sequence[bytes | memoryview]:
        return call.body_for(
            model=way.model,
            most=most,
            output_limit=way.output_limit,
            dropped=way.dropped,
            extra=way.extra,
        )

    def stream(self, *, created: int) -> Translator:
        return _AsItIs()

    def answer(self, body: bytes, *, created: int) -> bytes:
        if body[:1].strip() not in (b"{", b""):
            raise ValueError("no JSON")
        return body


_DIALECTS: dict[str, Dialect] = {
    Upstream.Kind.OPENAI: OpenAI(),
    Upstream.Kind.ANTHROPIC: Anthropic(),
    Upstream.Kind.BEDROCK: Bedrock(),
    Upstream.Kind.VERTEX: Vertex(),
}


def of(upstream: Way | Upstream) -> Dialect:
    """The dialect of an upstream, or of the one on a way."""
    return _DIALECTS[upstream.kind]


def of_kind(kind: str) -> Dialect:
    """kind: of Upstream.Kind."""
    return _DIALECTS[kind]
