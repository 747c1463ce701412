"""Reading an answer while it passes. No I/O.

The upstream's bytes are forwarded as they are, however they were cut (F4). Only a chunk that
reports usage is opened, to add ``usage.cost``; one without ``choices`` gets an empty list,
because the client's parser fails without it (trap 30).
"""

from collections.abc import Callable

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from proxy.pricing import MAX_TOKENS, Usage
from roocloud.lib.money import nanos_to_usd

#: What usage costs, in nano-dollars.
Price = Callable[[Usage], int]

#: A line longer than this passes unread: it is no usage chunk.
_MAX_LINE = 32 * 2**20
#: For counting what an upstream produced without reporting it: bytes of text per token, rounded up.
_BYTES_PER_TOKEN = 4


class _Function(Struct):
    arguments: str | None = None
    name: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None


class _Text(Struct):
    content: str | list[object] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None

    def size(self) -> int:
        size = len(self.content.encode()) if isinstance(self.content, str) else 0
        size += len((self.reasoning or self.reasoning_content or "").encode())
        for call in self.tool_calls or ():
            if call.function:
                size += len((call.function.arguments or "").encode())
                size += len((call.function.name or "").encode())
        return size


class _Choice(Struct):
    delta: _Text | None = None
    message: _Text | None = None


class _Answer(Struct):
    """A chunk, or a whole answer."""

    choices: list[_Choice] | UnsetType | None = UNSET
    usage: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_answer = msgspec.json.Decoder(_Answer)


def read_usage(raw: bytes) -> Usage | None:
    """Usage as OpenAI's shape and its dialects report it; None if there is nothing to read.

    Cache reads are ``prompt_tokens_details.cached_tokens``; cache writes are
    ``cache_creation_input_tokens`` or ``prompt_tokens_details.cache_write_tokens``.
    """
    try:
        reported = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(reported, dict):
        return None
    details = reported.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    written = _count(reported.get("cache_creation_input_tokens")) or _count(
        details.get("cache_write_tokens")
    )
    prompt = _count(reported.get("prompt_tokens"))
    read = min(_count(details.get("cached_tokens")), prompt)
    return Usage(
        prompt=prompt,
        completion=_count(reported.get("completion_tokens")),
        cache_read=read,
        cache_write=min(written, prompt - read),
    )


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return 0
    return int(min(max(value, 0), MAX_TOKENS))


def _estimate(prompt_tokens: int, text_bytes: int) -> Usage:
    return Usage(prompt=prompt_tokens, completion=-(-text_bytes // _BYTES_PER_TOKEN))


def _with_cost(body: bytes, raw_usage: bytes, cost_nanos: int) -> bytes:
    """``body`` with ``cost`` (USD) in its usage object and every other byte as it was."""
    reported = msgspec.json.decode(raw_usage)
    reported["cost"] = nanos_to_usd(cost_nanos)
    start = body.rfind(raw_usage)
    return body[:start] + msgspec.json.encode(reported) + body[start + len(raw_usage) :]


class StreamMeter:
    """``feed`` it what the upstream sends, forward what it gives back, then ask for the usage."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self._partial = b""
        self._text_bytes = 0
        self._reported: Usage | None = None
        self.failed = False  # the upstream reported an error in the stream
        self.complete = False  # the upstream said that nothing follows

    def feed(self, data: bytes) -> bytes:
        """The bytes to forward; of an unfinished line, nothing yet."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        if len(self._partial) > _MAX_LINE:
            lines.append(self._partial)
            self._partial = b""
            return b"\n".join(map(self._line, lines))
        return b"".join(self._line(line) + b"\n" for line in lines)

    def finish(self) -> bytes:
        """What is left when the upstream has ended."""
        rest, self._partial = self._partial, b""
        return self._line(rest) if rest else b""

    def usage(self, *, prompt_tokens: int) -> tuple[Usage, bool]:
        """What to charge, and whether it is an estimate.

        prompt_tokens: the estimate of the input, for an upstream that reported nothing. One that
        produced nothing and reported nothing cost nothing (C5).
        """
        if self._reported is not None:
            return self._reported, False
        if not self._text_bytes:
            return Usage(), False
        return _estimate(prompt_tokens, self._text_bytes), True

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:"):
            return line
        payload = line[5:].strip()
        if not payload:
            return line
        if payload == b"[DONE]":
            self.complete = True
            return line
        try:
            chunk = _answer.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._text_bytes += len(payload)
            return line
        for choice in chunk.choices or ():
            if choice.delta:
                self._text_bytes += choice.delta.size()
        if chunk.error is not UNSET:
            self.failed = True
        if chunk.usage is not UNSET and (usage := read_usage(bytes(chunk.usage))):
            self._reported = usage
            line = _with_cost(line, bytes(chunk.usage), self._price(usage))
        if chunk.choices is UNSET and chunk.error is UNSET:
            opening = line.index(b"{") + 1
            separator = b"" if line[opening:].lstrip().startswith(b"}") else b","
            line = line[:opening] + b'"choices":[]' + separator + line[opening:]
        return line


def meter_answer(body: bytes, price: Price, *, prompt_tokens: int) -> tuple[bytes, Usage, bool]:
    """A whole answer with its cost added, what to charge, and whether that is an estimate."""
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body, Usage(), False
    if answer.usage is not UNSET and (usage := read_usage(bytes(answer.usage))):
        return _with_cost(body, bytes(answer.usage), price(usage)), usage, False
    size = sum(choice.message.size() for choice in answer.choices or () if choice.message)
    if not size:
        return body, Usage(), False
    return body, _estimate(prompt_tokens, size), True
