"""Reading an answer while it passes. No I/O.

The upstream's bytes are forwarded as they are, however they were cut (F4). Only a chunk that
reports usage is opened, to add ``usage.cost``; one without ``choices`` gets an empty list,
because the client's parser fails without it (trap 30); and an upstream that reports no usage gets a
chunk with our own count before its last event, or the client would show a cost of zero (trap 31).
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from proxy.pricing import MAX_TOKENS, NO_USAGE, Rates, Usage
from roocloud.lib.money import nanos_to_usd

#: What usage costs, in nano-dollars.
Price = Callable[[Usage], int]

#: A line longer than this passes unread: it is no usage chunk.
_MAX_LINE = 32 * 2**20
#: Bytes of chunks that may wait to be counted.
_MAX_UNCOUNTED = 2**18
#: For counting what an upstream produced without reporting it: bytes of text per token, rounded up.
_BYTES_PER_TOKEN = 4
#: What one made image counts as, unreported: about 1,500 tokens.
_IMAGE_BYTES = 1500 * _BYTES_PER_TOKEN
_NULL = Raw(b"null")
_DONE = b"[DONE]"
_USAGE = b'"usage"'


class _Function(Struct):
    arguments: Raw = _NULL
    name: Raw = _NULL


class _ToolCall(Struct):
    function: _Function | None = None


class _Text(Struct):
    content: Raw = _NULL
    reasoning: Raw = _NULL
    reasoning_content: Raw = _NULL
    reasoning_details: Raw = _NULL
    refusal: Raw = _NULL
    tool_calls: list[_ToolCall] | None = None
    images: list[Raw] | None = None

    def size(self) -> int:
        thought = self.reasoning, self.reasoning_content, self.reasoning_details
        size = _size(self.content) + _size(self.refusal)
        size += next(filter(None, map(_size, thought)), 0)  # the same text, in up to three forms
        size += len(self.images or ()) * _IMAGE_BYTES
        for call in self.tool_calls or ():
            if call.function:
                size += _size(call.function.arguments) + _size(call.function.name)
        return size


class _Choice(Struct):
    delta: _Text | None = None
    message: _Text | None = None

    def size(self) -> int:
        text = self.delta or self.message
        return text.size() if text else 0


class _Answer(Struct):
    """A chunk, or a whole answer."""

    choices: list[_Choice] | UnsetType | None = UNSET


class _Made(Struct):
    """Embeddings, or images, which chat puts into its messages."""

    data: list[Raw] = []
    choices: list[_Choice] = []
    usage: Any = None


class _Shell(Struct):
    """What decides whether a chunk passes as it is."""

    choices: Raw | UnsetType = UNSET
    usage: Any = None
    error: Any = None


_answer = msgspec.json.Decoder(_Answer)
_made = msgspec.json.Decoder(_Made)
_shell = msgspec.json.Decoder(_Shell)


def _size(raw: Raw) -> int:
    """Bytes of a JSON string; of anything else than null, of its text."""
    text = bytes(raw)
    if text.startswith(b'"'):
        return len(text) - 2
    return 0 if text == b"null" else len(text)


def _text_bytes(payload: bytes) -> int:
    """How much an answer or a chunk says; all of it, if its shape is not one we know."""
    try:
        return sum(choice.size() for choice in _answer.decode(payload).choices or ())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return len(payload)


def read_usage(reported: Any) -> Usage | None:
    """Usage as OpenAI's shape and its dialects report it; None if it counts nothing.

    Cache reads are ``prompt_tokens_details.cached_tokens``; cache writes are
    ``cache_creation_input_tokens`` or ``prompt_tokens_details.cache_write_tokens``.
    """
    if not isinstance(reported, dict):
        return None
    prompt: Any = reported.get("prompt_tokens")
    completion: Any = reported.get("completion_tokens")
    total: Any = reported.get("total_tokens")
    if not _is_count(completion) and _is_count(total) and _is_count(prompt):
        completion = max(total - prompt, 0)
    if not (_is_count(prompt) and _is_count(completion)):
        return None
    prompt, completion = _count(prompt), _count(completion)
    details = reported.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    written = _count(reported.get("cache_creation_input_tokens")) or _count(
        details.get("cache_write_tokens")
    )
    read = min(_count(details.get("cached_tokens")), prompt)
    return Usage(
        prompt=prompt,
        completion=completion,
        cache_read=read,
        cache_write=min(written, prompt - read),
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _count(value: Any) -> int:
    return int(min(max(value, 0), MAX_TOKENS)) if _is_count(value) else 0


def _estimate(prompt_tokens: int, text_bytes: int) -> Usage:
    return Usage(prompt=prompt_tokens, completion=-(-text_bytes // _BYTES_PER_TOKEN))


def _object(payload: bytes) -> dict[str, Any] | None:
    """A JSON object by the tolerant decoder; None for anything else."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _open(payload: bytes) -> _Shell | None:
    """A chunk or an answer; None for what is no JSON object."""
    try:
        return _shell.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _object(payload)
    if value is None:
        return None
    choices = _NULL if "choices" in value else UNSET
    return _Shell(choices, value.get("usage"), value.get("error"))


_MARK = b'"\\u0000here"'


_decoder = json.JSONDecoder()


def _with_cost(body: bytes, cost_nanos: int) -> bytes:
    """``body`` with ``cost`` (USD) in its own usage object and every other byte as it was."""
    is_only = body.count(_USAGE) == 1
    at = len(body)
    while (at := body.rfind(_USAGE, 0, at)) >= 0:
        start = at + len(_USAGE)
        while body[start : start + 1] in (b" ", b"\t", b":"):
            start += 1
        try:  # a character a byte, so that offsets are the same
            _, length = _decoder.raw_decode(body[start:].decode("latin-1"))
        except (ValueError, RecursionError):
            continue
        end = start + length
        if not is_only:  # the name may stand deeper inside as well
            marked = _object(body[body.index(b"{") : start] + _MARK + body[end:])
            if marked is None or marked.get("usage") != json.loads(_MARK):
                continue
        reported = json.loads(body[start:end])
        reported["cost"] = nanos_to_usd(cost_nanos)
        return body[:start] + msgspec.json.encode(reported) + body[end:]
    return body


def usage_object(usage: Usage, cost_nanos: int) -> dict[str, Any]:
    """Usage as the client reads it (protocol/proxy.md §4.2)."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "cache_creation_input_tokens": usage.cache_write,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "cost": nanos_to_usd(cost_nanos),
    }


def _with_usage(body: bytes, usage: Usage, cost_nanos: int) -> bytes:
    """An answer that says nothing of usage, with it as its last field."""
    end = body.rfind(b"}")
    if _USAGE in body or end < 0:
        return body
    return (
        body[:end]
        + b","
        + _USAGE
        + b":"
        + msgspec.json.encode(usage_object(usage, cost_nanos))
        + body[end:]
    )


class StreamMeter:
    """``feed`` it what the upstream sends, forward what it gives back, then ask for the usage.

    prompt_tokens: an estimate of the input, for an upstream that reports nothing.
    """

    def __init__(self, price: Price, *, prompt_tokens: int) -> None:
        self._price = price
        self._prompt_tokens = prompt_tokens
        self._partial: list[bytes] = []  # of a line whose end has not come
        self._partial_bytes = 0
        self._uncounted: list[bytes] = []
        self._uncounted_bytes = 0
        self._text_bytes = 0
        self._reported: Usage | None = None
        self.failed = False  # the upstream reported an error in the stream
        self.complete = False  # the upstream said, or showed by its end, that nothing follows

    def feed(self, data: bytes) -> bytes:
        """The bytes to forward; of an unfinished line, nothing yet."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._hold_back(data)
            if self._partial_bytes > _MAX_LINE:
                return self._take_partial()
            return b""
        lines = self._take_partial() + data[:end] if self._partial else data[:end]
        if end < len(data):
            self._hold_back(data[end:])
        return self._pass(lines)

    def finish(self) -> bytes:
        """What is left when the upstream has ended."""
        rest = self._pass(self._take_partial()) + self._missing_usage()
        self.complete = True
        return rest

    def usage(self) -> tuple[Usage, bool]:
        """What to charge up to now, and whether it is an estimate.

        Unless the answer came to its end, its output counts at least as what has passed. An
        upstream that produced nothing and reported nothing cost nothing (C5).
        """
        if self._reported is not None and self.complete and not self.failed:
            return self._reported, False
        self._count_text()
        estimate = _estimate(self._prompt_tokens, self._text_bytes)
        if self._reported is None:
            return (estimate, True) if self._text_bytes else (NO_USAGE, False)
        if self._reported.completion >= estimate.completion:
            return self._reported, False
        return replace(self._reported, completion=estimate.completion), True

    def _hold_back(self, data: bytes) -> None:
        self._partial.append(data)
        self._partial_bytes += len(data)

    def _take_partial(self) -> bytes:
        rest = b"".join(self._partial)
        self._partial, self._partial_bytes = [], 0
        return rest

    def _pass(self, lines: bytes) -> bytes:
        """Whole lines. Those before the first that must be opened pass as they are."""
        start = self._first_to_open(lines)
        if start < 0:
            self._note(lines)
            return lines
        if start:
            self._note(lines[:start])
        opened = lines[start:].split(b"\n")
        last = opened.pop()
        out = [lines[:start], *(self._line(line) + b"\n" for line in opened)]
        if last:
            out.append(self._line(last))
        return b"".join(out)

    def _first_to_open(self, lines: bytes) -> int:
        """The offset of the first line that may need more than passing; -1 for none."""
        done = lines.find(_DONE)
        found = [done, lines.find(b'"error"'), self._find_usage(lines)]
        dones = lines.count(_DONE, done) if done >= 0 else 0
        if lines.count(b"data:") != lines.count(b'"choices"') + dones:
            return 0  # some chunk may lack its choices
        marks = [at for at in found if at >= 0]
        return lines.rfind(b"\n", 0, min(marks)) + 1 if marks else -1

    def _find_usage(self, lines: bytes) -> int:
        """Some upstreams send ``"usage":null`` in every chunk; that reports nothing."""
        at = lines.find(b'"usage"')
        while at >= 0 and lines[at + 7 : at + 13].lstrip(b": ")[:4] == b"null":
            at = lines.find(b'"usage"', at + 7)
        return at

    def _note(self, lines: bytes) -> None:
        self._uncounted.append(lines)
        self._uncounted_bytes += len(lines)
        if self._uncounted_bytes > _MAX_UNCOUNTED:
            self._count_text()

    def _count_text(self) -> None:
        """Counting is put off, because most streams report their usage in the end."""
        noted, self._uncounted, self._uncounted_bytes = self._uncounted, [], 0
        for line in b"".join(noted).split(b"\n"):
            if line.startswith(b"data:"):
                self._text_bytes += _text_bytes(line[5:])

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:"):
            return line
        payload = line[5:].strip()
        if not payload:
            return line
        if payload == _DONE:
            missing = self._missing_usage()
            self.complete = True
            return missing + line
        chunk = _open(payload)
        if chunk is None:
            self._text_bytes += len(payload)
            return line
        self._text_bytes += _text_bytes(payload)
        if chunk.error is not None:
            self.failed = True
        if usage := read_usage(chunk.usage):
            self._reported = usage
            line = _with_cost(line, self._price(usage))
        if chunk.choices is UNSET and chunk.error is None:
            opening = line.index(b"{") + 1
            separator = b"" if line[opening:].lstrip().startswith(b"}") else b","
            line = line[:opening] + b'"choices":[]' + separator + line[opening:]
        return line

    def _missing_usage(self) -> bytes:
        if self._reported is not None or self.failed or self.complete:
            return b""
        usage, _ = self.usage()
        if usage == NO_USAGE:
            return b""
        chunk = {"choices": [], "usage": usage_object(usage, self._price(usage))}
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def meter_answer(body: bytes, price: Price, *, prompt_tokens: int) -> tuple[bytes, Usage, bool]:
    """A whole answer with its cost added, what to charge, and whether that is an estimate."""
    answer = _open(body)
    if answer is None:
        return body, NO_USAGE, False
    if usage := read_usage(answer.usage):
        return _with_cost(body, price(usage)), usage, False
    size = _text_bytes(body)
    if not size:
        return body, NO_USAGE, False
    usage = _estimate(prompt_tokens, size)
    return _with_usage(body, usage, price(usage)), usage, True


def meter_embeddings(body: bytes, *, prompt_tokens: int) -> tuple[Usage, bool]:
    """What to charge, and whether it is an estimate; an answer without vectors costs nothing."""
    made = _read_made(body)
    if made is None:
        return NO_USAGE, False
    if usage := _input_alone(made.usage):
        return usage, False
    return (Usage(prompt=prompt_tokens), True) if made.data else (NO_USAGE, False)


def _input_alone(reported: Any) -> Usage | None:
    """Usage of what has no output in tokens, and often does not say so."""
    return read_usage({"completion_tokens": 0, **reported}) if isinstance(reported, dict) else None


def meter_images(body: bytes, rates: Rates, *, prompt_tokens: int) -> tuple[Usage, bool]:
    """What to charge for made images, and whether it is an estimate: tokens, if they are reported
    and priced, else each image, else what images usually take of tokens."""
    made = _read_made(body)
    if made is None:
        return NO_USAGE, False
    reported = read_usage(_as_chat(made.usage))
    if reported is not None and (rates.prices_tokens or not rates.image):
        return reported, False
    by_chat = [choice.message for choice in made.choices if choice.message]
    images = len(made.data) + sum(len(message.images or ()) for message in by_chat)
    if rates.image and images:
        return replace(reported or NO_USAGE, images=images), False
    size = len(made.data) * _IMAGE_BYTES + sum(message.size() for message in by_chat)
    if reported is None and size:
        return _estimate(prompt_tokens, size), True
    return reported or NO_USAGE, False


def with_cost(body: bytes, cost_nanos: int) -> bytes:
    """A whole answer with its cost in its usage, if it has one."""
    answer = _open(body)
    return _with_cost(body, cost_nanos) if answer and read_usage(answer.usage) else body


def _as_chat(reported: Any) -> Any:
    """OpenAI's images count input_tokens and output_tokens."""
    if not isinstance(reported, dict) or "input_tokens" not in reported:
        return reported
    return {
        "prompt_tokens": reported["input_tokens"],
        "completion_tokens": reported.get("output_tokens"),
        "total_tokens": reported.get("total_tokens"),
        "prompt_tokens_details": reported.get("input_tokens_details"),
    }


def _read_made(body: bytes) -> _Made | None:
    try:
        return _made.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
