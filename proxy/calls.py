"""A chat completion as the client asks for it (protocol/proxy.md §4.1). No I/O.

The body may be tens of megabytes of conversation, so it is read once, by its top-level fields; what
is only forwarded is never decoded, and is not copied for each upstream that is tried.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from proxy.models import Upstream
from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput

T = TypeVar("T")

MAX_CHOICES = 8
#: What chat templates and tool instructions of a provider may add to an input, in tokens.
TEMPLATE_TOKENS = 1024
#: The most that one image is counted as by any provider, and about what it usually is.
_IMAGE_BOUND = 20_000
_IMAGE_TOKENS = 1_500
_MAX_OUTPUT = 10**7
#: What is forwarded beside the model, the messages and the output limit. Everything else is not:
#: it might choose a route, a key, a host or a price (K2).
PARAMETERS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "n", "stop", "seed", "presence_penalty",
     "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
     "response_format", "tools", "tool_choice", "parallel_tool_calls", "functions",
     "function_call", "reasoning", "reasoning_effort", "include_reasoning", "thinking",
     "verbosity", "modalities", "prediction", "prompt_cache_key", "stream"}
)  # fmt: skip
_KEYS = {name: b',"%s":' % name.encode() for name in PARAMETERS}
_IMAGES = frozenset({"image_url", "input_image", "image"})
_ABSENT = Raw(b"")


class _Part(Struct):
    type: Raw = _ABSENT
    text: Raw = _ABSENT


class _Message(Struct):
    role: str
    content: Raw = _ABSENT


_fields = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_Message)
_parts = msgspec.json.Decoder(list[_Part])


@dataclass(frozen=True, slots=True)
class Call:
    """model: as asked for. max_tokens: of output, None if the client named none. text_bytes: of the
    body without its images. has_files: the input holds what cannot be counted from here."""

    model: str
    is_stream: bool
    max_tokens: int | None
    choices: int
    text_bytes: int
    images: int
    has_files: bool
    fields: dict[str, Raw]

    def prompt_tokens_bound(self, context_window: int) -> int:
        """Tokens that the input cannot exceed: no tokenizer makes more tokens than bytes, templates
        and a provider's own instructions add some, and no model takes more than its window."""
        if self.has_files:
            return context_window
        bound = self.text_bytes + self.images * _IMAGE_BOUND + TEMPLATE_TOKENS
        return min(bound, context_window)

    def prompt_tokens_estimate(self, context_window: int) -> int:
        """Tokens that the input probably is, for an upstream that does not say: four bytes each."""
        return min(-(-self.text_bytes // 4) + self.images * _IMAGE_TOKENS, context_window)

    def output_bound(self, most: int) -> int:
        """Tokens that the answer cannot exceed. most: the model's own limit."""
        return min(self.max_tokens or most, most) * self.choices

    def body_for(
        self,
        *,
        model: str,
        most: int,
        output_limit: str = Upstream.OutputLimit.MAX_TOKENS,
        dropped: Sequence[str] = (),
        extra: Sequence[str] = (),
    ) -> list[bytes | memoryview]:
        """What one upstream gets, in pieces that share the client's bytes.

        model: the upstream's own name for it. most: the model's limit of output tokens, which
        always goes along, so that the answer stays within its hold. A stream reports usage.
        """
        pieces: list[bytes | memoryview] = [b'{"model":', msgspec.json.encode(model)]
        if output_limit not in dropped:
            limit = min(self.max_tokens or most, most)
            pieces.append(b',"%s":%d' % (output_limit.encode(), limit))
        if self.is_stream:
            pieces.append(b',"stream_options":{"include_usage":true}')
        pieces += [b',"messages":', memoryview(self.fields["messages"])]
        for name, value in self.fields.items():
            if (name in _KEYS or name in extra) and name not in dropped:
                pieces += [_KEYS.get(name) or _key(name), memoryview(value)]
        pieces.append(b"}")
        return pieces


def read(body: bytes) -> Call:
    """Raises InvalidInput naming the field."""
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = _repaired(body)
        fields = _decode(_fields, body, "The body must be a JSON object", field=None)
    model = _value(fields, "model", str, "must be the id of a model")
    if not model or len(model) > 200:
        raise InvalidInput("must be the id of a model", field="model")
    images, image_bytes, has_files = _read_messages(fields.get("messages", _ABSENT))
    limits = [_whole(fields, name, _MAX_OUTPUT) for name in Upstream.OutputLimit.values]
    return Call(
        model=model,
        is_stream=bool(_value(fields, "stream", bool | None, "must be true or false")),
        max_tokens=max((limit for limit in limits if limit), default=None),
        choices=_whole(fields, "n", MAX_CHOICES) or 1,
        text_bytes=len(body) - image_bytes,
        images=images,
        has_files=has_files,
        fields=fields,
    )


def _key(name: str) -> bytes:
    return b"," + msgspec.json.encode(name) + b":"


def _repaired(body: bytes) -> bytes:
    """The same JSON with U+003F for halves of surrogate pairs, which editors send when a terminal
    cuts a character in two, and which neither msgspec nor upstreams take (F5). Raises InvalidInput
    for what is no JSON."""
    return json.dumps(wire.loads(body), ensure_ascii=False).encode("utf-8", "replace")


def _read_messages(raw: Raw) -> tuple[int, int, bool]:
    """(images, their bytes, whether there are other files)."""
    problem = "must be a list with at least one message"
    messages = _decode(_list, raw, problem, field="messages")
    if not messages:
        raise InvalidInput(problem, field="messages")
    images, image_bytes, has_files = 0, 0, False
    for index, value in enumerate(messages):
        field = f"messages[{index}]"
        message = _decode(_message, value, "must be an object with a role", field=field)
        content = bytes(message.content)
        if not content.startswith(b"["):
            continue
        for part in _decode(_parts, content, "must hold parts", field=f"{field}.content"):
            kind = bytes(part.type).strip(b'"').decode("utf-8", "replace")
            if kind in _IMAGES:
                images += 1
            elif kind not in ("text", "input_text", "refusal"):
                has_files = True
        if images:
            texts = sum(len(memoryview(p.text)) for p in _parts.decode(content))
            image_bytes += max(len(content) - texts, 0)
    return images, image_bytes, has_files


def _decode(decoder: msgspec.json.Decoder[T], raw: Any, problem: str, *, field: str | None) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(problem, field=field) from None


def _value(fields: dict[str, Raw], name: str, kind: Any, problem: str) -> Any:
    raw = fields.get(name)
    if raw is None:
        if kind is str:
            raise InvalidInput(problem, field=name)
        return None
    return _decode(msgspec.json.Decoder(kind), raw, problem, field=name)


def _whole(fields: dict[str, Raw], name: str, limit: int) -> int | None:
    problem = f"must be a whole number from 1 to {limit}"
    value: int | None = _value(fields, name, int | None, problem)
    if value is not None and not 1 <= value <= limit:
        raise InvalidInput(problem, field=name)
    return value
