"""Anthropic's answers as chat completions, whole or as they stream. No I/O."""

import json
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from proxy.anthropic.shapes import FORMAT, NULL, THOUGHTS, Block
from proxy.upstream_errors import status_of

T = TypeVar("T")

_NO_INPUT = Raw(b"{}")
_MAX_LINE = 32 * 2**20
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class _Usage(Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    def updated(self, later: "_Usage | None") -> "_Usage":
        """Counts are cumulative; a later report need not repeat them."""
        if later is None:
            return self
        news = {name: count for name, count in msgspec.structs.asdict(later).items() if count}
        return msgspec.structs.replace(self, **news)

    @property
    def prompt(self) -> int:
        """The whole input: what was read from a cache or written to one is counted apart."""
        read, written = self.cache_read_input_tokens, self.cache_creation_input_tokens
        return (self.input_tokens or 0) + (read or 0) + (written or 0)

    def translated(self) -> Block:
        """As a part of an answer, as the client reads it: the prompt is the whole input (trap 31).
        Nothing if nothing was reported, which is no zero (C5)."""
        if self.input_tokens is None and self.output_tokens is None:
            return {}
        completion = self.output_tokens or 0
        usage = {
            "prompt_tokens": self.prompt,
            "completion_tokens": completion,
            "total_tokens": self.prompt + completion,
            "cache_creation_input_tokens": self.cache_creation_input_tokens or 0,
            "prompt_tokens_details": {"cached_tokens": self.cache_read_input_tokens or 0},
        }
        return {"usage": usage}


_NO_USAGE = _Usage()


class _Block(Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Raw = _NO_INPUT


class _Answer(Struct):
    type: str
    id: str = ""
    model: str = ""
    content: list[_Block] = []
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Delta(Struct):
    type: str = ""
    text: Raw = NULL
    thinking: Raw = NULL
    signature: Raw = NULL
    partial_json: Raw = NULL
    stop_reason: str | None = None


class _Error(Struct):
    type: str = "api_error"
    message: str = "The upstream failed"


class _Event(Struct):
    type: str
    index: int = 0
    message: _Answer | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_answers = msgspec.json.Decoder(_Answer)
_events = msgspec.json.Decoder(_Event)


def _decode(decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    """Raises ValueError. Halves of surrogate pairs, which msgspec refuses, become U+003F."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            whole = json.dumps(json.loads(payload), ensure_ascii=False)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        return decoder.decode(whole.encode("utf-8", "replace"))


def answer(body: bytes, *, created: int) -> bytes:
    """A whole answer as a chat completion. created: epoch seconds. Raises ValueError."""
    found = _decode(_answers, body)
    if found.type != "message":
        raise ValueError(f"{found.type} is no message")
    message: Block = {"role": "assistant"}
    texts = [block.text for block in found.content if block.type == "text"]
    message["content"] = "".join(texts) if texts else None
    if details := [_detail(i, b) for i, b in enumerate(found.content) if b.type in THOUGHTS]:
        message["reasoning"] = "".join(block.thinking for block in found.content)
        message["reasoning_details"] = details
    if calls := [_tool_call(block) for block in found.content if block.type == "tool_use"]:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": _reason(found.stop_reason)}
    completion = {
        "id": found.id,
        "object": "chat.completion",
        "created": created,
        "model": found.model,
        "choices": [choice],
        **(found.usage or _NO_USAGE).translated(),
    }
    return msgspec.json.encode(completion)


def _detail(index: int, block: _Block) -> Block:
    detail: Block = {"type": "reasoning.text", "format": FORMAT, "index": index}
    if block.type == "redacted_thinking":
        return detail | {"type": "reasoning.encrypted", "data": block.data}
    return detail | {"text": block.thinking, "signature": block.signature}


def _tool_call(block: _Block) -> Block:
    function = {"name": block.name, "arguments": bytes(block.input).decode()}
    return {"id": block.id, "type": "function", "function": function}


def _reason(stop_reason: str | None) -> str:
    return _REASONS.get(stop_reason or "", "stop")


class StreamTranslator:
    """``feed`` it the upstream's events, cut anywhere; it gives back chunks of a chat completion.

    Usage is reported twice: of the input at the beginning, so that a stream that is cut off pays
    for cached tokens as such, and of the whole in the end. created: epoch seconds.
    """

    def __init__(self, *, created: int) -> None:
        self._created = created
        self._partial: list[bytes] = []  # of a line whose end has not come
        self._partial_bytes = 0
        self._head = self._heading("", "")
        self._usage = _NO_USAGE
        self._stop_reason: str | None = None
        self._calls = 0
        self._unsent_input: Raw | None = None  # of the open call, as long as no part of it came
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        """The chunks of the events that are complete."""
        if self._ended:
            return b""
        end = data.rfind(b"\n") + 1
        if not end:
            self._hold_back(data)
            return self._fail(_Error(message="An event is too long")) if self._too_long() else b""
        lines = b"".join([*self._partial, data[:end]]).split(b"\n")
        self._partial, self._partial_bytes = [], 0
        if end < len(data):
            self._hold_back(data[end:])
        return b"".join([self._line(line) for line in lines if line.startswith(b"data:")])

    def finish(self) -> bytes:
        """What is left to say when the upstream has ended."""
        if self._ended:
            return b""
        return self._fail(_Error(message="The upstream ended before its answer did"))

    def _hold_back(self, data: bytes) -> None:
        self._partial.append(data)
        self._partial_bytes += len(data)

    def _too_long(self) -> bool:
        return self._partial_bytes > _MAX_LINE

    def _line(self, line: bytes) -> bytes:
        try:
            event = _decode(_events, line[5:])
        except ValueError:
            return b""  # of a kind that is not known here
        if self._ended:
            return b""
        return self._event(event)

    def _event(self, event: _Event) -> bytes:
        delta = event.delta
        if event.type == "content_block_delta" and delta is not None:
            return self._delta(event.index, delta)
        if event.type == "content_block_start" and event.content_block is not None:
            return self._begin_block(event.index, event.content_block)
        if event.type == "content_block_stop":
            return self._end_block()
        if event.type == "message_start" and event.message is not None:
            return self._begin(event.message)
        if event.type == "message_delta":
            self._usage = self._usage.updated(event.usage)
            if delta is not None and delta.stop_reason:
                self._stop_reason = delta.stop_reason
        if event.type == "message_stop":
            return self._end()
        if event.type == "error":
            return self._fail(event.error or _Error())
        return b""

    def _begin(self, message: _Answer) -> bytes:
        self._head = self._heading(message.id, message.model)
        self._usage = message.usage or _NO_USAGE
        begin = self._chunk(b'{"role":"assistant","content":""}')
        return begin + self._report() if self._usage.prompt else begin

    def _heading(self, message_id: str, model: str) -> bytes:
        """What all chunks begin with, up to the choices."""
        chunk = {"id": message_id, "object": "chat.completion.chunk", "created": self._created}
        return b"data: " + msgspec.json.encode({**chunk, "model": model})[:-1] + b',"choices":['

    def _chunk(self, delta: bytes, *, reason: bytes = b"null") -> bytes:
        choice = b'{"index":0,"delta":' + delta + b',"finish_reason":' + reason + b"}"
        return self._head + choice + b"]}\n\n"

    def _report(self) -> bytes:
        """A chunk with the usage up to now."""
        usage = self._usage.translated().get("usage")
        return self._head + b'],"usage":' + msgspec.json.encode(usage) + b"}\n\n" if usage else b""

    def _delta(self, index: int, delta: _Delta) -> bytes:
        if delta.type == "text_delta":
            return self._chunk(b'{"content":' + bytes(delta.text) + b"}")
        if delta.type == "input_json_delta":
            fragment = bytes(delta.partial_json)
            if fragment in (b'""', b"null"):
                return b""
            self._unsent_input = None
            return self._arguments(fragment)
        if delta.type == "thinking_delta":
            text = bytes(delta.thinking)
            return self._thought(index, b'"text":' + text, shown=b'"reasoning":' + text + b",")
        if delta.type == "signature_delta":
            return self._thought(index, b'"signature":' + bytes(delta.signature))
        return b""

    def _thought(self, index: int, detail: bytes, *, shown: bytes = b"") -> bytes:
        detail = b'{"type":"reasoning.text","format":"%s","index":%d,%s}' % (
            FORMAT.encode(), index, detail,
        )  # fmt: skip
        return self._chunk(b"{" + shown + b'"reasoning_details":[' + detail + b"]}")

    def _begin_block(self, index: int, block: _Block) -> bytes:
        encode = msgspec.json.encode
        if block.type == "tool_use":
            self._calls += 1
            self._unsent_input = block.input
            call = {
                "index": self._calls - 1,
                "id": block.id,
                "type": "function",
                "function": {"name": block.name, "arguments": ""},
            }
            return self._chunk(b'{"tool_calls":[' + encode(call) + b"]}")
        if block.type == "redacted_thinking":
            return self._chunk(b'{"reasoning_details":[' + encode(_detail(index, block)) + b"]}")
        if block.type == "text" and block.text:
            return self._chunk(b'{"content":' + encode(block.text) + b"}")
        return b""

    def _arguments(self, fragment: bytes) -> bytes:
        head = b'{"tool_calls":[{"index":%d,"function":{"arguments":' % (self._calls - 1)
        return self._chunk(head + fragment + b"}}]}")

    def _end_block(self) -> bytes:
        """A tool that takes nothing is called without a fragment; clients read arguments."""
        unsent, self._unsent_input = self._unsent_input, None
        return (
            b"" if unsent is None else self._arguments(msgspec.json.encode(bytes(unsent).decode()))
        )

    def _end(self) -> bytes:
        self._ended = True
        reason = msgspec.json.encode(_reason(self._stop_reason))
        return self._chunk(b"{}", reason=reason) + self._report() + b"data: [DONE]\n\n"

    def _fail(self, error: _Error) -> bytes:
        self._ended = True
        failed: Block = {"message": error.message, "type": error.type}
        body = {"error": failed | {"code": status_of(failed)}}
        return b"data: " + msgspec.json.encode(body) + b"\n\n"
