"""What clients ask for: a completion, embeddings or images (protocol/proxy.md §4 to §6). No I/O.

The body may be tens of megabytes of conversation, so it is read once, by its top-level fields; what
is only forwarded is never decoded, and is not copied for each upstream that is tried.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from proxy.models import LanguageModel, Upstream
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
_MAX_DIMENSIONS = 10**5
#: What is forwarded beside the model, the input and the output limit. Everything else is not: it
#: might choose a route, a key, a host or a price (K2).
PARAMETERS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "n", "stop", "seed", "presence_penalty",
     "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
     "response_format", "tools", "tool_choice", "parallel_tool_calls", "functions",
     "function_call", "reasoning", "reasoning_effort", "include_reasoning", "thinking",
     "verbosity", "modalities", "prediction", "prompt_cache_key", "stream"}
)  # fmt: skip
_EMBEDDING_PARAMETERS = frozenset({"encoding_format", "dimensions"})
_IMAGE_PARAMETERS = frozenset({"n", "size", "quality", "output_format", "providerOptions"})
#: What clients can show, and what is asked for in its place otherwise.
_FORMATS = ("png", "jpeg", "jpg")
_IMAGES = frozenset({"image_url", "input_image", "image"})
_ABSENT = Raw(b"")
_OUTPUT_LIMITS = tuple(Upstream.OutputLimit.values)


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
class Endpoint:
    """What can be asked for. path: below ``/proxy/v1/`` and below an upstream's base URL. kind: of
    the models that answer. source: the field that holds the input. parameters: what is forwarded
    beside it. read: makes a Call of a body, or raises InvalidInput naming the field."""

    path: str
    kind: str
    source: str
    parameters: frozenset[str]
    read: "Callable[[bytes], Call]"


@dataclass(frozen=True, slots=True)
class Call:
    """model: as asked for. max_tokens: of output, None if the client named none. text_bytes: of the
    body without its images. has_files: the input holds what cannot be counted from here. inputs:
    how many, each with the model's window to itself. tokens: of an input that came as tokens.
    wants_images: an image is to be made."""

    endpoint: Endpoint
    model: str
    text_bytes: int
    fields: dict[str, Raw]
    is_stream: bool = False
    max_tokens: int | None = None
    choices: int = 1
    images: int = 0
    has_files: bool = False
    inputs: int = 1
    tokens: int | None = None
    wants_images: bool = False

    def takes(self, kind: str) -> bool:
        """Whether models of that kind answer this: those that make images also do by chat."""
        makes_image = self.wants_images and kind == LanguageModel.Kind.IMAGE
        return makes_image or kind == self.endpoint.kind

    def prompt_tokens_bound(self, context_window: int) -> int:
        """Tokens that the input cannot exceed: no tokenizer makes more tokens than bytes, templates
        and a provider's own instructions add some, and no model takes more than its window."""
        if self.has_files:
            return context_window
        bound = self.text_bytes + self.images * _IMAGE_BOUND + TEMPLATE_TOKENS
        return min(bound, context_window * self.inputs)

    def prompt_tokens_estimate(self, context_window: int) -> int:
        """Tokens that the input probably is, for an upstream that does not say: four bytes each."""
        if self.tokens is not None:
            return min(self.tokens, context_window * self.inputs)
        estimate = -(-self.text_bytes // 4) + self.images * _IMAGE_TOKENS
        return min(estimate, context_window * self.inputs)

    def output_bound(self, most: int) -> int:
        """Tokens that the answer cannot exceed. most: the model's own limit."""
        if self.endpoint is EMBEDDINGS:
            return 0
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
        always goes along, so that the answer stays within its hold. A stream reports usage, unless
        the upstream does not know how to be asked for it.
        """
        pieces: list[bytes | memoryview] = [b'{"model":', msgspec.json.encode(model)]
        if self.endpoint is CHAT and output_limit not in dropped:
            limit = min(self.max_tokens or most, most)
            pieces.append(b',"%s":%d' % (output_limit.encode(), limit))
        if self.is_stream and "stream_options" not in dropped:
            pieces.append(b',"stream_options":{"include_usage":true}')
        pieces += [_key(self.endpoint.source), memoryview(self.fields[self.endpoint.source])]
        for name, value in self.fields.items():
            if (name in self.endpoint.parameters or name in extra) and name not in dropped:
                pieces += [_key(name), memoryview(value)]
        pieces.append(b"}")
        return pieces


def read(body: bytes) -> Call:
    """A chat completion. Raises InvalidInput naming the field."""
    body, fields, model = _read_fields(body)
    images, image_bytes, has_files = _read_messages(fields.get("messages", _ABSENT))
    limits = [_whole(fields, name, _MAX_OUTPUT) for name in _OUTPUT_LIMITS]
    modalities = _value(fields, "modalities", list[str] | None, "must be a list of names")
    return Call(
        endpoint=CHAT,
        model=model,
        is_stream=bool(_value(fields, "stream", bool | None, "must be true or false")),
        max_tokens=max((limit for limit in limits if limit), default=None),
        choices=_whole(fields, "n", MAX_CHOICES) or 1,
        text_bytes=len(body) - image_bytes,
        images=images,
        has_files=has_files,
        wants_images="image" in (modalities or ()),
        fields=fields,
    )


def _read_fields(body: bytes) -> tuple[bytes, dict[str, Raw], str]:
    """(the body as it is forwarded, its fields, the model)."""
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = _repaired(body)
        fields = _decode(_fields, body, "The body must be a JSON object", field=None)
    model = _value(fields, "model", str, "must be the id of a model")
    if not model or len(model) > 200:
        raise InvalidInput("must be the id of a model", field="model")
    return body, fields, model


def read_embeddings(body: bytes) -> Call:
    """Raises InvalidInput naming the field."""
    body, fields, model = _read_fields(body)
    problem = "must be a text, a list of texts, or lists of tokens"
    given = _value(fields, "input", str | list[str | int | list[int]] | None, problem)
    inputs, tokens = 1, None
    if isinstance(given, list):
        if given and all(isinstance(token, int) for token in given):
            tokens = len(given)
        else:
            inputs = len(given)
            if all(isinstance(one, list) for one in given):
                tokens = sum(map(len, given))
            elif not all(isinstance(one, str) for one in given):
                raise InvalidInput(problem, field="input")
    if not given:
        raise InvalidInput(problem, field="input")
    encoding = _value(fields, "encoding_format", str | None, "must be float or base64")
    if encoding not in (None, "float", "base64"):
        raise InvalidInput("must be float or base64", field="encoding_format")
    _whole(fields, "dimensions", _MAX_DIMENSIONS)
    return Call(
        endpoint=EMBEDDINGS,
        model=model,
        text_bytes=len(body),
        fields=fields,
        inputs=inputs,
        tokens=tokens,
    )


class _BlackForestLabs(Struct, omit_defaults=True):
    outputFormat: str | None = None  # noqa: N815 - the wire's names
    inputImage: str | None = None  # noqa: N815


class _ProviderOptions(Struct, omit_defaults=True):
    """What of them passes; whatever else is given falls away."""

    blackForestLabs: _BlackForestLabs | None = None  # noqa: N815


def read_images(body: bytes) -> Call:
    """Raises InvalidInput naming the field."""
    body, fields, model = _read_fields(body)
    if not _value(fields, "prompt", str, "must be a text"):
        raise InvalidInput("must be a text", field="prompt")
    _format(_value(fields, "output_format", str | None, "must be a name"), "output_format")
    for name in ("size", "quality"):
        _value(fields, name, str | None, "must be a name")
    field, problem = "providerOptions", "must be an object of options by provider"
    options = _value(fields, field, _ProviderOptions | None, problem)
    flux = options.blackForestLabs if options else None
    source = (flux.inputImage if flux else None) or ""
    if flux is not None:
        _format(flux.outputFormat, f"{field}.blackForestLabs.outputFormat")
        if source and not source.startswith("data:image/"):
            raise InvalidInput("must be a data URL", field=f"{field}.blackForestLabs.inputImage")
    fields.pop(field, None)
    if flux is not None:
        fields[field] = Raw(msgspec.json.encode(options))
    return Call(
        endpoint=IMAGES,
        model=model,
        text_bytes=max(len(body) - len(source), 0),
        fields=fields,
        choices=_whole(fields, "n", MAX_CHOICES) or 1,
        images=1 if source else 0,
        wants_images=True,
    )


def _format(name: str | None, field: str) -> None:
    """Editors take no WebP, and nothing here turns it into what they take."""
    if name is not None and name not in _FORMATS:
        raise InvalidInput("must be png or jpeg", field=field)


CHAT = Endpoint("chat/completions", LanguageModel.Kind.LANGUAGE, "messages", PARAMETERS, read)
EMBEDDINGS = Endpoint(
    "embeddings", LanguageModel.Kind.EMBEDDING, "input", _EMBEDDING_PARAMETERS, read_embeddings
)
IMAGES = Endpoint(
    "images/generations", LanguageModel.Kind.IMAGE, "prompt", _IMAGE_PARAMETERS, read_images
)
#: All that is served; each goes through the same pipeline, so none spends without a hold.
ENDPOINTS = (CHAT, EMBEDDINGS, IMAGES)


@cache
def _key(name: str) -> bytes:
    """Of the few names that are forwarded."""
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
    return _decode(_decoder(kind), raw, problem, field=name)


#: Making a decoder takes longer than using it.
_decoder = cache(msgspec.json.Decoder)


def _whole(fields: dict[str, Raw], name: str, limit: int) -> int | None:
    problem = f"must be a whole number from 1 to {limit}"
    value: int | None = _value(fields, name, int | None, problem)
    if value is not None and not 1 <= value <= limit:
        raise InvalidInput(problem, field=name)
    return value
